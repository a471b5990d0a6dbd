"""External data: which files a model may name, and where its tensors lie in them."""

from __future__ import annotations

import math
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import TensorProto

from onnxopt.errors import BadModel, UnsafePath
from onnxopt.ir import dtypes
from onnxopt.ir.mapped_file import MappedFile
from onnxopt.ir.values import InlineValues, MappedValues, Values

_LONGEST_NUMBER = 19
"""Digits of 2^63: no file is longer."""


class ExternalData:
    """The files beside a model that hold its weights; each is opened once and mapped when first read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, MappedFile] = {}

    def values(self, tensor: TensorProto) -> Values:
        """Where a tensor's data are.

        Raises:
            UnsafePath: The location is absolute, climbs out of the model's folder, or passes a symbolic link.
            BadModel: The file is missing or too short, or offset and length do not fit.
        """
        if tensor.data_location != TensorProto.EXTERNAL:
            return InlineValues(tensor)
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        where = f"tensor '{tensor.name}' keeps its data in '{location}'"
        file = self._files.get(location)
        if file is None:
            file = self._files[location] = self._open(location, where)
        offset = _number(entries, "offset", 0, where)
        needed = dtypes.stored_bytes(tensor.data_type, math.prod(tensor.dims)) or 0
        length = _number(entries, "length", needed, where)
        if offset + length > file.size:
            raise BadModel(
                f"{where} up to byte {offset + length}, but that file has {file.size}: "
                "it is truncated or belongs to another model"
            )
        header = TensorProto()
        header.CopyFrom(tensor)
        for field in ("data_location", "external_data", "raw_data"):
            header.ClearField(field)
        return MappedValues(header, file, offset, length)

    def _open(self, location: str, where: str) -> MappedFile:
        path = _safe_path(self.folder, location, where)
        try:
            return MappedFile(path)
        except OSError as error:
            raise BadModel(f"{where}, which cannot be read: {error.strerror}") from None


def _number(entries: dict[str, str], key: str, default: int, where: str) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_NUMBER:
        raise BadModel(f"{where} at the {key} '{text[:40]}', which is no number of bytes")
    return int(text)


def _safe_path(folder: Path, location: str, where: str) -> Path:
    """The file that a location names; the rules of Windows hold on every system, since models travel."""
    path, windows = PurePosixPath(location), PureWindowsPath(location)
    if not path.parts or "\0" in location:
        raise BadModel(f"{where}, which names no file")
    if path.is_absolute() or windows.drive or windows.root:
        raise UnsafePath(f"{where}: an absolute path is refused; put the file beside the model")
    if ".." in windows.parts:
        raise UnsafePath(f"{where}: a path out of the model's folder is refused; put the file beside the model")
    full = folder
    for part in path.parts:
        full = full / part
        try:
            mode = full.lstat().st_mode
        except OSError as error:
            raise BadModel(f"{where}, which is not beside the model: {error.strerror}") from None
        if stat.S_ISLNK(mode):
            raise UnsafePath(f"{where}: a symbolic link is refused; put the file itself beside the model")
    if not stat.S_ISREG(mode):
        raise BadModel(f"{where}, which is no regular file")
    return full
