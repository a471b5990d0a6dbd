"""How far the builder is, told by a child through a file: what it is at, steps done, steps in all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PERIOD = 0.1
"""Seconds between two looks, and between two tellings: the builder takes thousands of steps."""
Report = Callable[[str, int, int], None]


class Teller:
    """The child's end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0.0

    def tell(self, what: str, done: int, total: int) -> None:
        """Write it where the parent looks, not too often."""
        if (now := time.monotonic()) < self._next:
            return
        self._next = now + _PERIOD
        hidden = self._path.with_suffix(".tmp")
        hidden.write_text(f"{done} {total} {what}")
        hidden.replace(self._path)  # the parent never sees half of a line


@contextmanager
def watched(path: Path, report: Report | None) -> Iterator[None]:
    """Within the block, call `report` with what is told there; nothing is done where there is none."""
    if report is None:
        yield
        return
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(path, report, ended), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _watch(path: Path, report: Report, ended: threading.Event) -> None:
    last = ""
    while not ended.wait(_PERIOD):
        try:
            told = path.read_text()
        except OSError:  # nothing was told yet
            continue
        if told != last:
            last = told
            done, total, what = told.split(" ", 2)
            report(f"TensorRT: {what}", int(done), int(total))
