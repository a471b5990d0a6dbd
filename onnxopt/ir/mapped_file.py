"""A file of weights, mapped into memory when first read."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from typing import BinaryIO

from onnxopt.errors import BadModel

_RESIDENT = 64 << 20
"""Bytes handed out after which those of before need not stay in memory: they count as this process's."""


class MappedFile:
    """Holds the file open: that somebody replaces it by rename does no harm.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open(path)
        self.size = os.fstat(self._file.fileno()).st_size
        self._map: mmap.mmap | None = None
        self._viewed = 0

    def fileno(self) -> int:
        """The descriptor, for copies from file to file."""
        return self._file.fileno()

    def view(self, offset: int, length: int) -> memoryview:
        """`length` bytes from `offset`, without reading them yet.

        Raises:
            BadModel: The file has become shorter since it was opened.
        """
        if length == 0:
            return memoryview(b"")
        if self._map is None:
            if os.fstat(self._file.fileno()).st_size < self.size:
                raise BadModel(f"{self.path}: has become shorter while it was in use")
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._viewed += length
        if self._viewed > _RESIDENT and hasattr(self._map, "madvise"):  # not on Windows
            self._map.madvise(mmap.MADV_DONTNEED)  # whoever still reads an older view gets its pages again
            self._viewed = length
        return memoryview(self._map)[offset : offset + length]


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        if error.errno != errno.EMFILE or not _may_open_more():
            raise
        return path.open("rb")


def _may_open_more() -> bool:
    """Raise the limit of open files as far as the system lets us: some exporters give each tensor a file of its own."""
    try:
        import resource
    except ImportError:  # not on Windows
        return False
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return True
