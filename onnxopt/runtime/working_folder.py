"""The temporary folder of one job in a child process, and what killed jobs left behind."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

_LOCK = ".lock"
_BIRTH = 60
"""Seconds within which a folder counts as one that is about to be locked."""


@contextmanager
def working_folder(prefix: str) -> Iterator[Path]:
    """A fresh folder that is gone when the block ends, however it ends but by SIGKILL of this process.

    Folders of processes that were killed are removed on the way: those of that prefix that nobody holds a lock on.
    """
    _remove_abandoned(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / _LOCK).open("wb") as lock:
            with suppress(OSError):  # no locks on this file system: then nobody removes it either
                flock(lock, LOCK_EX)
            yield folder


def _remove_abandoned(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime < _BIRTH:
                continue
            with (folder / _LOCK).open("rb") as lock:
                flock(lock, LOCK_EX | LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
