"""External data: which files a model may name, and where its tensors lie in them."""

from __future__ import annotations

import math
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import TensorProto

from onnxopt.errors import BadModel, UnsafePath
from onnxopt.ir import dtypes
from onnxopt.ir.values import InlineValues, MappedFile, MappedValues, Values


class ExternalData:
    """The files beside a model that hold its weights; each is opened once and mapped when first read."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder = folder
        self.model = model
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
        file = self._files.get(location)
        if file is None:
            file = self._files[location] = MappedFile(self._safe_path(location, tensor.name))
        offset = self._number(entries, "offset", 0, tensor.name)
        needed = dtypes.stored_bytes(tensor.data_type, math.prod(tensor.dims)) or 0
        length = self._number(entries, "length", needed, tensor.name)
        if offset + length > file.size:
            raise BadModel(
                f"{self.model}: initializer '{tensor.name}' ends at byte {offset + length} of {location}, "
                f"which has {file.size}: the file is truncated or belongs to another model"
            )
        header = TensorProto()
        header.CopyFrom(tensor)
        return MappedValues(header, file, offset, length)

    def _number(self, entries: dict[str, str], key: str, default: int, name: str) -> int:
        text = entries.get(key)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit():
            raise BadModel(
                f"{self.model}: initializer '{name}' has the external data {key} '{text}', which is no number"
            )
        return int(text)

    def _safe_path(self, location: str, name: str) -> Path:
        where = f"{self.model}: initializer '{name}' keeps its data in '{location}'"
        if not location or "\0" in location:
            raise BadModel(f"{where}: that names no file")
        path, windows = PurePosixPath(location), PureWindowsPath(location)
        if path.is_absolute() or windows.drive or windows.root:
            raise UnsafePath(f"{where}: an absolute path is refused; put the file beside the model")
        if ".." in windows.parts:
            raise UnsafePath(f"{where}: a path out of the model's folder is refused; put the file beside the model")
        full = self.folder
        for part in path.parts:
            full = full / part
            try:
                mode = full.lstat().st_mode
            except OSError:
                raise BadModel(f"{where}: there is no such file beside the model") from None
            if stat.S_ISLNK(mode):
                raise UnsafePath(f"{where}: a symbolic link is refused; put the file itself beside the model")
        if not stat.S_ISREG(mode):
            raise BadModel(f"{where}: that is no regular file")
        return full
