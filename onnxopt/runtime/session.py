"""One model in onnxruntime on the CPU, for every type that ONNX and onnxruntime share."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, TensorProto, numpy_helper

from onnxopt.data.spec import Array, Feeds, Value, ValueSpec, inputs_of, outputs_of
from onnxopt.errors import OnnxoptError
from onnxopt.ir import dtypes

_SILENT = 4  # onnxruntime's severity FATAL: what fails is raised, and so told once


class NotRunnable(OnnxoptError):
    """onnxruntime cannot load the model, has no kernel for a node of it, or failed while it ran."""


class Session:
    """A loaded model.

    Args:
        model: a model, its bytes, or its path. A model over 2 GB, or with external data, comes as a path.
        optimize: let onnxruntime rewrite the graph first. Off by default: a reference that is itself rewritten would
            hide a faulty rewrite of ours, or show one of theirs.
        threads: for one operator. More than one may change the order of sums, and so the last bits.

    Raises:
        NotRunnable: onnxruntime refuses the model; the text is the first line of its reason.
    """

    inputs: tuple[ValueSpec, ...]
    """What `run` must be given; inputs with a default value are left out."""
    outputs: tuple[ValueSpec, ...]
    """What `run` returns, as the file declares it."""

    def __init__(self, model: ModelProto | bytes | Path, *, optimize: bool = False, threads: int = 1) -> None:
        options = session_options(optimize=optimize, threads=threads)
        try:
            header = _header(model)
            self.inputs, self.outputs = tuple(inputs_of(header)), tuple(outputs_of(header))
            source = str(model) if isinstance(model, Path) else _serialized(model)
            self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its classes have no common base, and numpy and protobuf raise their own
            raise NotRunnable(f"onnxruntime cannot load the model: {_reason(error)}") from error

    def run(self, feeds: Mapping[str, Value], outputs: Sequence[str] | None = None) -> Feeds:
        """Run once.

        Args:
            feeds: a value by input name: an array (ml_dtypes' types and strings included), a list of arrays for a
                sequence, None for an empty optional.
            outputs: the names wanted; all by default.

        Returns:
            A value by output name: an array, a list, a dict for a map, or None for an empty optional.

        Raises:
            NotRunnable: a feed is missing, unknown or of another type, an output is unknown, or a kernel failed.
        """
        names = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        declared = {spec.name: spec for spec in self.outputs}
        if unknown := [name for name in names if name not in declared]:
            raise NotRunnable(f"the model has no output '{unknown[0]}'; its outputs are {', '.join(declared)}")
        # onnxruntime hands ml_dtypes' types out as OrtValues only, and sequences and maps as Python objects only.
        boxed = [n for n in names if declared[n].kind == "tensor" and _needs_box(declared[n].dtype)]
        plain = [n for n in names if n not in boxed]
        options = ort.RunOptions()
        options.log_severity_level = _SILENT
        found: Feeds = {}
        try:
            given = {name: to_ort(value) for name, value in feeds.items()}
            if plain:  # no names at all would mean every output
                found |= zip(plain, self._session.run(plain, given, options), strict=True)
            if boxed:
                boxes = {name: _boxed(name, value) for name, value in given.items()}
                values = self._session.run_with_ort_values(boxed, boxes, options)
                found |= {name: _to_numpy(value) for name, value in zip(boxed, values, strict=True)}
        except NotRunnable:
            raise
        except Exception as error:  # as above
            raise NotRunnable(f"onnxruntime cannot run the model: {_reason(error)}") from error
        return {name: found[name] for name in names}

    def prepared(self, feeds: Mapping[str, Value]) -> Callable[[], object]:
        """A call that runs the model on these inputs, and does nothing else: for measuring its time.

        Raises:
            NotRunnable: From the call, as for `run`, where onnxruntime refuses the inputs.
        """
        boxes = {name: to_ort(value) for name, value in feeds.items()}
        options = ort.RunOptions()
        options.log_severity_level = _SILENT

        def call() -> object:
            try:
                return self._session.run(None, boxes, options)
            except Exception as error:  # as in `run`
                raise NotRunnable(f"onnxruntime cannot run the model: {_reason(error)}") from error

        return call


def session_options(*, optimize: bool, threads: int) -> ort.SessionOptions:
    """How onnxruntime is set up here; `threads` is for one operator, and 0 leaves the number to onnxruntime."""
    options = ort.SessionOptions()
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    options.use_deterministic_compute = True
    if not optimize:  # a weight packed in advance goes through another kernel than the same values computed
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def _header(model: ModelProto | bytes | Path) -> ModelProto:
    """The model with its declared inputs and outputs; the weights of a path are not read."""
    if isinstance(model, Path):
        return onnx.load(model, load_external_data=False)
    return onnx.load_model_from_string(model) if isinstance(model, bytes) else model


def _serialized(model: ModelProto | bytes) -> bytes:
    return model if isinstance(model, bytes) else model.SerializeToString()


def _needs_box(dtype: np.dtype[Any] | None) -> bool:
    """Whether numpy itself lacks the type: 1 is numpy's own, 2 one registered by ml_dtypes."""
    return dtype is not None and dtype.isbuiltin != 1


def to_ort(value: Value) -> Any:
    """A value as onnxruntime's `run` takes it."""
    if value is None or isinstance(value, list):
        return value
    array = np.asarray(value)
    if array.dtype.kind in "US":
        return array.astype(object)
    if not _needs_box(array.dtype):
        return array
    # onnxruntime reads 4-bit types packed, two to a byte, while ml_dtypes keeps one to a byte: numpy_helper packs.
    raw = numpy_helper.from_array(array).raw_data
    box = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), dtypes.to_onnx(array.dtype))
    ctypes.memmove(box.data_ptr(), raw, len(raw))
    return box


def _boxed(name: str, value: Any) -> ort.OrtValue:
    if isinstance(value, ort.OrtValue):
        return value
    if not isinstance(value, np.ndarray) or value.dtype == dtypes.STRING:
        raise NotRunnable(
            f"input '{name}' is no numeric tensor, and onnxruntime's Python interface cannot then return bfloat16, "
            "float8 or 4-bit outputs: leave those outputs out"
        )
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value).reshape(value.shape))


def _to_numpy(value: ort.OrtValue) -> Array:
    code, size = value.element_type(), value.tensor_size_in_bytes()
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    return numpy_helper.to_array(TensorProto(dims=value.shape(), data_type=code, raw_data=raw))


def _reason(error: Exception) -> str:
    """The first line of what onnxruntime says, without its prefix `[ONNXRuntimeError] : 9 : `."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : ", "", lines[0])
