"""Read a model file. Weights stay on disk until somebody reads them."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from onnxopt.errors import BadModel
from onnxopt.ir.external import ExternalData
from onnxopt.ir.graph import Graph
from onnxopt.ir.importer import from_proto
from onnxopt.ir.mapped_file import MappedFile
from onnxopt.ir.values import Values
from onnxopt.ir.wire import PROTOBUF_LIMIT, Malformed, WeightsInPlace

_IN_PLACE = 1 << 20
"""Model files of at least so many bytes keep their large weights on disk; a smaller one is soon read."""
_LARGE = 64 << 10
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def load(path: str | Path) -> Graph:
    """The graph of a model file.

    Raises:
        BadModel: The file is missing, truncated, no ONNX model, over protobuf's 2 GB, or contradicts itself.
        UnsafePath: Its external data lie outside its folder, or behind a symbolic link.
    """
    path = Path(path)
    model, in_place = _parse(path)
    external = ExternalData(path.parent)

    def values(tensor: TensorProto) -> Values:
        return (in_place.values(tensor) if in_place else None) or external.values(tensor)

    try:
        return from_proto(model, values)
    except BadModel as error:
        text = _CONTROL.sub(lambda found: repr(found[0])[1:-1], str(error))  # a name may hold a line break
        raise type(error)(text if text.startswith(str(path)) else f"{path}: {text}") from None


def _parse(path: Path) -> tuple[ModelProto, WeightsInPlace | None]:
    try:
        if not path.is_file():
            raise BadModel(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        size = path.stat().st_size
        if size > PROTOBUF_LIMIT:
            raise BadModel(
                f"{path}: {size / 1e9:.1f} GB, but an ONNX file holds at most 2 GB; weights go into external data"
            )
        if size >= _IN_PLACE:
            in_place = WeightsInPlace(MappedFile(path))
            try:
                return _decoded(in_place.skeleton(_LARGE), path), in_place
            except Malformed:  # then protobuf says what is wrong
                pass
        data = path.read_bytes()
    except OSError as error:
        raise BadModel(f"{path}: cannot be read: {error.strerror}") from None
    if not data:
        raise BadModel(f"{path}: the file is empty")
    return _decoded(data, path), None


def _decoded(data: bytes, path: Path) -> ModelProto:
    try:
        model: ModelProto = ModelProto.FromString(data)
    except DecodeError as error:
        is_deep = "Depth" in str(error)
        raise BadModel(f"{path}: {'nested too deeply' if is_deep else 'truncated, or not an ONNX file'}") from None
    if not model.HasField("graph") or not model.HasField("ir_version"):
        raise BadModel(
            f"{path}: not an ONNX file, or a truncated one: it has no {'graph' if model.ir_version else 'IR version'}"
        )
    return model
