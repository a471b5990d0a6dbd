"""Frames that come one by one, run in batches: a queue that waits a little for company."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from onnxopt.errors import OnnxoptError

if TYPE_CHECKING:
    from onnxopt.data.spec import Feeds
    from onnxopt.runtime.stacking import Model

Frame = TypeVar("Frame")
Result = TypeVar("Result")


class BatcherClosed(OnnxoptError):
    """A frame was given to a batcher that takes no more."""


@dataclass
class _Waiting(Generic[Frame, Result]):
    frame: Frame
    future: Future[Result]
    since: float


class Batcher(Generic[Frame, Result]):
    """Groups frames, runs each group at once in a thread of its own, and hands every frame its result.

        with onnxopt.Batcher.of_model("m.onnx", size=8, milliseconds=5) as batcher:
            for outputs in batcher.map(frames):  # dicts of arrays, without the batch axis
                ...

    A group is run as soon as it has `size` frames, or its first one has waited `milliseconds`. Groups run one after
    the other, in the order in which frames came. Where a group fails, its frames are run one by one, so that an
    exception goes to the frame that it belongs to and the others get their results. Every method may be called from
    any thread.

    Args:
        run: Takes a list of frames, gives as many results in the same order.
        size: The most frames of a group.
        milliseconds: The longest that a frame waits for others while nothing else runs; 0 takes what is there.
        pending: How many frames may wait before `submit` blocks; 4 groups by default.
        clock: Gives seconds.

    Raises:
        ValueError: `size` or `pending` is less than 1, or `milliseconds` less than 0.
    """

    def __init__(
        self,
        run: Callable[[list[Frame]], Sequence[Result]],
        size: int = 8,
        milliseconds: float = 5.0,
        pending: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.size, self.milliseconds = size, milliseconds
        self.pending = 4 * size if pending is None else pending
        if size < 1 or self.pending < 1 or not milliseconds >= 0:
            raise ValueError(
                f"a batcher has a size and a pending of 1 or more and no negative time, not {size}, {self.pending} "
                f"and {milliseconds} ms"
            )
        self._run, self._clock = run, clock
        self._queue: deque[_Waiting[Frame, Result]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._worker = threading.Thread(target=self._work, name="onnxopt-batcher", daemon=True)
        self._worker.start()

    @classmethod
    def of_model(
        cls, model: Model, size: int = 8, milliseconds: float = 5.0, pending: int | None = None
    ) -> Batcher[Feeds, Feeds]:
        """A batcher of frames that are arrays by input name, each without its batch axis; results are outputs so.

        Args:
            model: The path of an ONNX model, an `onnxruntime.InferenceSession`, or anything with a `run` that takes
                arrays by input name and gives them by output name. Where its batch is fixed, groups are filled up.
            size: As for a batcher.
            milliseconds: As for a batcher.
            pending: As for a batcher.

        Raises:
            OnnxoptError: The model cannot be loaded.
        """
        from onnxopt.runtime.stacking import stacked

        return Batcher(stacked(model), size, milliseconds, pending)

    def submit(self, frame: Frame, timeout: float | None = None) -> Future[Result]:
        """Put a frame into the queue; the future gets its result, or the exception that it caused.

        Args:
            frame: What `run` shall get.
            timeout: Seconds to wait for room in the queue; None waits as long as it takes.

        Raises:
            BatcherClosed: It takes no more.
            TimeoutError: There was no room in time.
            RuntimeError: `run`, or a callback of a future, submits a frame to a full queue: that would never end.
        """
        future: Future[Result] = Future()
        with self._changed:
            if threading.current_thread() is self._worker and self._is_full():
                raise RuntimeError("the batcher's own thread gives it a frame while its queue is full")
            if not self._changed.wait_for(lambda: self._is_closed or not self._is_full(), timeout):
                raise TimeoutError(f"no room within {timeout:g} s: {self.pending} frames are waiting")
            if self._is_closed:
                raise BatcherClosed("the batcher is closed and takes no more frames")
            self._queue.append(_Waiting(frame, future, self._clock()))
            self._changed.notify_all()
        return future

    def map(self, frames: Iterable[Frame]) -> Iterator[Result]:
        """The results of all frames, in their order; no more than `pending` and a group are under way at a time.

        Raises:
            Exception: What a frame caused, in its turn; the frames that are not begun by then are dropped.
        """
        under_way: deque[Future[Result]] = deque()
        try:
            for frame in frames:
                under_way.append(self.submit(frame))
                while under_way and (under_way[0].done() or len(under_way) >= self.pending + self.size):
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()

    def close(self, *, drop: bool = False) -> None:
        """Take no more frames, and return when all that were taken are done. Closing twice is no mistake.

        Args:
            drop: Cancel those that are not begun.
        """
        with self._changed:
            self._is_closed = True
            if drop:
                for waiting in self._queue:
                    waiting.future.cancel()
            self._changed.notify_all()
        if threading.current_thread() is not self._worker:
            self._worker.join()

    def __enter__(self) -> Batcher[Frame, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; where the block failed, what is not begun is dropped."""
        self.close(drop=kind is not None)

    def _is_full(self) -> bool:
        return len(self._queue) >= self.pending

    def _work(self) -> None:
        while group := self._next():
            started = [waiting for waiting in group if waiting.future.set_running_or_notify_cancel()]
            if started:
                self._serve(started)

    def _next(self) -> list[_Waiting[Frame, Result]]:
        """The next group, when it is due; nothing when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closed)
            while self._queue and not self._is_closed and len(self._queue) < min(self.size, self.pending):
                left = self._queue[0].since + self.milliseconds / 1000 - self._clock()
                if left <= 0:
                    break
                self._changed.wait(left)
            group = [self._queue.popleft() for _ in range(min(self.size, len(self._queue)))]
            self._changed.notify_all()
            return group

    def _serve(self, group: list[_Waiting[Frame, Result]]) -> None:
        try:
            results = self._results([waiting.frame for waiting in group])
        except BaseException as error:  # noqa: BLE001  whatever the caller's function raises is the caller's
            if len(group) == 1:
                group[0].future.set_exception(error)
                return
            for waiting in group:
                self._serve([waiting])
            return
        for waiting, result in zip(group, results, strict=True):
            waiting.future.set_result(result)

    def _results(self, frames: list[Any]) -> Sequence[Result]:
        results = self._run(frames)
        if len(results) != len(frames):
            raise ValueError(f"{len(frames)} frames were run, and {len(results)} results came back")
        return results
