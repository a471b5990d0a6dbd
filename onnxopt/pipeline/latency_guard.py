"""Takes back the passes that make a model slower, by measuring it before and after each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxopt.errors import CheckFailed
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import PassRun

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.data import DataSet, Feeds
    from onnxopt.runtime.latency import Ratio
    from onnxopt.runtime.session import Session


@dataclass
class LatencyGuard:
    """Measures onnxruntime with its own optimizations on: what a user of the model will see.

    A pass is taken back where the model is more than `tolerance` slower after it, and this is no noise: measured twice,
    the 95 % confidence interval of the median ratio lies above 1 each time.
    """

    data: DataSet | None = None
    """Samples to run; generated inputs where there are none."""
    dims: Mapping[str, int] = field(default_factory=dict)
    """Sizes of symbolic dimensions, for generated inputs."""
    tolerance: float = 0.02
    """As a part of the time before the pass; what is less costs nobody anything."""
    samples: int = 4
    total: Ratio | None = None
    """How many times as long the finished model takes as the input model; None before the end."""
    noise: Ratio | None = None
    """The same of the input model and itself."""
    _kept: ir.Graph | None = field(default=None, repr=False)
    _print: str = field(default="", repr=False)
    _session: Session | None = field(default=None, repr=False)
    _input: Session | None = field(default=None, repr=False)
    _again: Session | None = field(default=None, repr=False)
    _feeds: list[Feeds] = field(default_factory=list, repr=False)

    def start(self, graph: ir.Graph) -> None:
        """Load the input model.

        Raises:
            CheckFailed: It cannot be run.
        """
        from onnxopt import ir
        from onnxopt.runtime.executable import executable, header_of
        from onnxopt.runtime.generated_inputs import runnable_inputs
        from onnxopt.runtime.session import NotRunnable, Session

        try:
            with executable(graph) as model:
                self._session, self._again = (Session(model, optimize=True) for _ in range(2))
                if self.data is not None:
                    self._feeds = list(self.data.take(self.samples).batches())
                else:
                    self._feeds = runnable_inputs(header_of(model), self._session, 1, dims=dict(self.dims))
        except NotRunnable as error:
            raise CheckFailed(f"cannot measure the latency: {error}") from error
        self._input, self._kept, self._print = self._session, graph.copy(), ir.fingerprint(graph)

    def takes_back(self, run: PassRun, graph: ir.Graph, ctx: Context) -> bool:
        """Bring `graph` back to what it was before a pass that made it slower; say so."""
        from onnxopt import ir
        from onnxopt.ir.replace import replace_content

        assert self._session is not None and self._kept is not None, "start() has run"
        now = ir.fingerprint(graph)
        if now == self._print:  # only declarations changed
            return False
        session = self._load(graph)
        ratio = self._compare(session)
        if _is_slower(ratio, self.tolerance) and _is_slower(again := self._compare(session), self.tolerance):
            replace_content(graph, self._kept)
            self._kept = graph.copy()
            run.taken_back = f"onnxruntime takes {again} times as long after it"
            ctx.warn(f"taken back: {run.taken_back}")
            return True
        self._kept, self._print, self._session = graph.copy(), now, session
        return False

    def finish(self) -> None:
        """Measure the finished model against the input model, and that against itself."""
        from onnxopt.runtime.latency import latency_ratios

        assert self._input is not None and self._again is not None and self._session is not None, "start() has run"
        _, self.noise, self.total = latency_ratios([self._input, self._again, self._session], self._feeds)

    def _load(self, graph: ir.Graph) -> Session:
        from onnxopt.runtime.executable import executable
        from onnxopt.runtime.session import NotRunnable, Session

        try:
            with executable(graph) as model:
                return Session(model, optimize=True)
        except NotRunnable as error:
            raise CheckFailed(f"cannot measure the latency: {error}") from error

    def _compare(self, session: Session) -> Ratio:
        from onnxopt.runtime.latency import latency_ratios

        assert self._session is not None, "start() has run"
        return latency_ratios([self._session, session], self._feeds, seconds=3.0)[1]


def _is_slower(ratio: Ratio, tolerance: float) -> bool:
    return ratio.median > 1 + tolerance and ratio.interval[0] > 1
