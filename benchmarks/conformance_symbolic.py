"""Conformance models that say no sizes: what their files declare hides most of what shape passes have to prove."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from conformance_cases import Case
from conformance_engines import Values, run_in_onnxruntime
from onnx import GraphProto, ModelProto, ValueInfoProto

from onnxopt.runtime.session import NotRunnable

Naming = Literal["each", "size"]
"""`each`: every dimension of every input is a symbol of its own. `size`: dimensions of one size, of inputs that are
both floats or both not, share one, so that equal symbols can be made use of."""

_SIZES: tuple[Callable[[int], int], ...] = (lambda size: 2 * size, lambda size: min(size, 1))
"""Of the dimensions of floats, in further inputs: a function of the size alone, so that equal ones stay equal."""


def symbolic(case: Case, naming: Naming) -> Case | None:
    """The case with symbols for all sizes of its inputs, and without shapes of values and sizes of outputs.

    Beside the given inputs it has these repeated to twice the size, and cut to size 1, where the untouched model takes
    that: its own outputs are then the ones to give.

    Returns:
        None where no input has a size.
    """
    model = ModelProto()
    model.CopyFrom(case.model)
    listed = {tensor.name for tensor in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in listed]
    if not sum([_open(info, naming) for info in inputs]):
        return None
    for info in model.graph.output:
        for dim in info.type.tensor_type.shape.dim:
            dim.Clear()
    _forget(model.graph)
    return replace(case, model=model, data=[*case.data, *_further(model, case.data)])


def _open(info: ValueInfoProto, naming: Naming) -> int:
    """Make symbols of an input's sizes; how many."""
    if info.type.WhichOneof("value") != "tensor_type":
        return 0
    opened = 0
    for axis, dim in enumerate(info.type.tensor_type.shape.dim):
        if dim.HasField("dim_value"):
            opened += 1
            family = "f" if _is_float(info) else "i"
            dim.dim_param = f"{info.name}_{axis}" if naming == "each" else f"{family}{dim.dim_value}"
    return opened


def _is_float(info: ValueInfoProto) -> bool:
    from onnx.helper import tensor_dtype_to_np_dtype

    kind = info.type.tensor_type.elem_type
    return bool(kind) and np.issubdtype(tensor_dtype_to_np_dtype(kind), np.floating)


def _forget(graph: GraphProto) -> None:
    del graph.value_info[:]
    for node in graph.node:
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                _forget(body)


def _further(model: ModelProto, data: list[tuple[Values, Values]]) -> Iterator[tuple[Values, Values]]:
    floats = {info.name for info in model.graph.input if _is_float(info)}
    for resize in _SIZES:
        for feeds, _ in data:
            other = {name: _resized(value, resize) if name in floats else value for name, value in feeds.items()}
            if any(_shape(other[name]) != _shape(feeds[name]) for name in feeds):
                try:
                    run_in_onnxruntime(model, feeds)  # else the reference evaluator is going to run this case
                    yield other, run_in_onnxruntime(model, other)
                except NotRunnable:
                    continue


def _resized(value: Any, resize: Callable[[int], int]) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    for axis, size in enumerate(value.shape):
        value = value.take(np.arange(resize(size)) % max(size, 1), axis)
    return value


def _shape(value: Any) -> Any:
    return getattr(value, "shape", None)
