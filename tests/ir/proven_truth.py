"""Certain shapes held against what onnxruntime computes: every inner value of a model is made an output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto

from onnxopt import ir
from onnxopt.ir.proven import Atom, Dim, ProvenShapes, ProvenShapesNonempty

Feeds = dict[str, Any]


def check_claims(model: ModelProto, feeds: Iterable[Feeds], what: str = "") -> Counter[str]:
    """Assert that every claimed dimension and element is the real one; return how many claims were checked.

    A model that onnxruntime does not run proves nothing, nor do inputs that it refuses.
    """
    checked: Counter[str] = Counter()
    graph = ir.from_proto(model)
    ir.sort(graph)
    inner = {tensor.name: tensor for node in graph.nodes for tensor in node.outputs if tensor.name}
    session = _session(model, inner)
    if session is None:
        return checked
    names = [output.name for output in session.get_outputs()]
    shapes, shapes_nonempty = ProvenShapes(graph), ProvenShapesNonempty(graph)
    for given in feeds:
        try:
            real = dict(zip(names, session.run(None, given), strict=True))
        except Exception:  # noqa: BLE001  onnxruntime raises classes of its own
            continue
        empty = any(isinstance(value, np.ndarray) and 0 in value.shape for value in given.values())
        for proven in (shapes,) if empty else (shapes, shapes_nonempty):
            values = _Values(graph, given, real)
            for name, tensor in inner.items():
                if isinstance(real[name], np.ndarray):
                    _check(proven, tensor, real[name], values, f"{what} '{name}' of {tensor.producer}", checked)
    return checked


def _session(model: ModelProto, inner: Iterable[str]) -> ort.InferenceSession | None:
    wide = ModelProto()
    wide.CopyFrom(model)
    there = {output.name for output in wide.graph.output}
    wide.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner if name not in there)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(wide.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001  onnxruntime raises classes of its own
        return None


class _Values:
    """The atoms' values in one run."""

    def __init__(self, graph: ir.Graph, given: Feeds, real: Feeds) -> None:
        self.real = real
        self.sizes: dict[Any, int] = {}
        for tensor in graph.inputs:
            value = given.get(tensor.name)
            if isinstance(value, np.ndarray):
                for axis, (dim, size) in enumerate(zip(tensor.shape or (), value.shape, strict=False)):
                    self.sizes[tensor.name, axis] = size
                    if isinstance(dim, str):
                        self.sizes[dim] = size

    def of(self, extent: int | Dim) -> int:
        return extent if isinstance(extent, int) else extent.at(self._atom)

    def _atom(self, atom: Atom) -> int:
        if atom.kind == "size":
            return int(self.real[atom.args[0].name].shape[atom.args[1]])
        return self.sizes[atom.args[0] if atom.kind == "symbol" else atom.args]


def _check(
    proven: ProvenShapes, tensor: ir.Tensor, real: np.ndarray, values: _Values, what: str, checked: Counter[str]
) -> None:
    dims, elements = proven.dims(tensor), proven.elements(tensor)
    if dims is not None:
        assert tuple(map(values.of, dims)) == real.shape, f"{what}: {dims}"
        checked["shapes"] += 1
        checked["symbolic shapes"] += any(isinstance(dim, Dim) for dim in dims)
    if elements is not None:
        assert real.ndim < 2 and len(elements) == real.size and proven.element_type(tensor) == real.dtype, what
        for element, number in zip(elements, real.reshape(-1).tolist(), strict=True):
            if element is not None:
                assert values.of(element) == number, f"{what}: {elements}"
                checked["elements"] += 1
                checked["symbolic elements"] += isinstance(element, Dim)


def with_open_dims(model: ModelProto) -> ModelProto:
    """The model without a declared dimension, so that all sizes are symbolic."""
    opened = ModelProto()
    opened.CopyFrom(model)
    defaults = {tensor.name for tensor in opened.graph.initializer}
    for info in (*opened.graph.input, *opened.graph.output):
        if info.name not in defaults:
            for dim in info.type.tensor_type.shape.dim:
                dim.Clear()
    del opened.graph.value_info[:]
    return opened
