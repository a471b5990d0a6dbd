"""Streaming an `.npz`: rows are read as they are asked for, since its members are compressed and cannot be mapped.

`numpy.load` would inflate a whole member, which a small file can make as large as it likes, and unpickle objects.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from onnxopt.data.layout import Sample
from onnxopt.data.spec import Array, ValueSpec, show_shape
from onnxopt.errors import BadData

LARGEST_SAMPLE = 1 << 30
"""Bytes of one sample of one array that are still read."""
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError)
"""What zipfile and numpy raise on damaged, encrypted or unsupported members."""


@dataclass(frozen=True)
class Rows:
    """One array of an archive; its first axis is the samples."""

    path: Path
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __iter__(self) -> Iterator[Array]:
        """Read `a[0]`, `a[1]`, ... one after the other."""
        size = self.dtype.itemsize * math.prod(self.shape[1:])
        with (
            _readable(self.path, self.name),
            zipfile.ZipFile(self.path) as archive,
            archive.open(f"{self.name}.npy") as member,
        ):
            _read_header(member)
            for _ in range(self.shape[0]):
                row = member.read(size)
                if len(row) != size:
                    raise EOFError("its data end early")
                yield np.ndarray(self.shape[1:], self.dtype, row)


class Npz:
    """An archive of arrays by input name, and of extras with as many entries.

    Raises:
        BadData: it is no such archive; an array is pickled, in Fortran order, too large a sample, or shorter than it
            says; an input has no array; or the inputs have not equally many entries.
    """

    def __init__(self, path: Path, inputs: Sequence[ValueSpec]) -> None:
        arrays = {rows.name: rows for rows in _arrays(path)}
        if missing := [spec.name for spec in inputs if spec.name not in arrays]:
            raise BadData(f"{path} has no input '{missing[0]}'; it has: {', '.join(arrays) or 'nothing'}")
        found = [arrays[spec.name] for spec in inputs]
        for rows in found:
            if rows.shape[:1] != found[0].shape[:1] or not rows.shape:
                raise BadData(
                    f"{path}: every input needs one entry a sample, but '{found[0].name}' is "
                    f"{show_shape(found[0].shape)} and '{rows.name}' {show_shape(rows.shape)}"
                )
        self.length = found[0].shape[0] if found else 0
        self._arrays = [rows for rows in arrays.values() if rows.shape[:1] == (self.length,)]

    def samples(self) -> Iterator[Sample]:
        """Start a pass. Arrays with another number of entries than the inputs, class names say, take no part in it."""
        names = [rows.name for rows in self._arrays]
        for values in zip(*self._arrays, strict=True):
            yield dict(zip(names, values, strict=True))


def _arrays(path: Path) -> Iterator[Rows]:
    """The arrays of the archive, by their headers."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name == info.filename:
                raise BadData(f"{path}: '{name}' is no array; an .npz holds .npy members only")
            with _readable(path, name), archive.open(info) as member:
                yield _checked(Rows(path, name, *_read_header(member)), info.file_size - member.tell())


def _checked(rows: Rows, stored: int) -> Rows:
    sample = rows.dtype.itemsize * math.prod(rows.shape[1:])
    if sample * (rows.shape[0] if rows.shape else 1) != stored or min(rows.shape, default=0) < 0:
        raise ValueError(f"{rows.dtype}{show_shape(rows.shape)} does not take the {stored} bytes that it has")
    if sample > LARGEST_SAMPLE:
        raise ValueError(f"one sample of {show_shape(rows.shape)} takes {sample} bytes, over {LARGEST_SAMPLE}")
    return rows


def _read_header(member: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Dtype and shape, from the header of the NPY format (numpy.lib.format); leaves `member` at the data."""
    version = npy.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"NPY version {version} is for records with named fields, which no model takes")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(member)
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which are not loaded; save numbers or fixed-width strings")
    if fortran and len(shape) > 1:
        raise ValueError("it is in Fortran order and cannot be streamed; save numpy.ascontiguousarray of it")
    return dtype, shape


@contextlib.contextmanager
def _readable(path: Path, name: str | None = None) -> Iterator[None]:
    """Turn what numpy and zipfile raise into ours."""
    try:
        yield
    except _BROKEN as error:
        what = f"{path}: array '{name}'" if name else str(path)
        raise BadData(f"{what} cannot be read: {error}") from error
