"""A graph as something that onnxruntime and onnx's checker take, whatever its size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import ModelProto

from onnxopt import ir
from onnxopt.ir.weights import weights

_IN_MEMORY = 1_000_000_000
"""Bytes of weights up to which a model is handed over in memory; a larger one goes through a file."""


@contextmanager
def executable(graph: ir.Graph) -> Iterator[ModelProto | Path]:
    """The model of a graph: the proto itself, or the path of a file that is gone when the block ends."""
    if sum(constant.nbytes for constant in weights(graph)) <= _IN_MEMORY:
        yield ir.to_proto(graph)
        return
    with TemporaryDirectory(prefix="onnxopt-") as folder:
        path = Path(folder) / "model.onnx"
        ir.save(graph, path, sync=False)
        yield path


def header_of(model: ModelProto | Path) -> ModelProto:
    """The model without the weights that lie in other files."""
    return onnx.load(model, load_external_data=False) if isinstance(model, Path) else model


def complaint(model: ModelProto | Path) -> str:
    """What onnx's checker and strict shape inference find wrong, in one line; empty for nothing."""
    try:
        onnx.checker.check_model(str(model) if isinstance(model, Path) else model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        return " ".join(str(error).split())[:300]
    return ""
