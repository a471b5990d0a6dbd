"""How far the builder is, told by a child through a file: what it is at, steps done, steps in all."""

from __future__ import annotations

import mmap
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PERIOD = 0.1
"""Seconds between two looks."""
_SIZE = 128
"""Bytes of a line; what is longer is cut."""
_LINE = re.compile(r"(\d+) (\d+) (.+)")
Report = Callable[[str, int, int], None]


class Teller:
    """The child's end.

    Every step is written, into memory that is shared: telling now and then, by the clock, takes memory now and then,
    after which the builder's own lies elsewhere, and the engine is another one; see `reproducible`.
    """

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _SIZE)

    def tell(self, what: str, done: int, total: int) -> None:
        """Write it where the parent looks."""
        self._shared[:] = f"{done} {total} {what}".encode()[: _SIZE - 1].ljust(_SIZE, b"\0")


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
            told = path.read_bytes().partition(b"\0")[0].decode(errors="replace")
        except OSError:  # nothing was told yet
            continue
        if told != last and (line := _LINE.fullmatch(told)):  # not one that is being written
            last = told
            report(f"TensorRT: {line[3]}", int(line[1]), int(line[2]))
