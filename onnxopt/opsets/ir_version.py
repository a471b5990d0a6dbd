"""The IR version that a model needs: runtimes refuse a newer one than theirs, whatever the opset."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import helper

from onnxopt.ir import dtypes
from onnxopt.ir.exporter import opset_imports
from onnxopt.ir.graph import Graph, every_graph
from onnxopt.ir.tensor import Tensor

_FUNCTIONS, _OVERLOADS, _DEVICES = 8, 10, 11
_ELEMENT_TYPES = ((16, 3), (20, 9), (22, 10), (23, 11), (24, 12), (26, 13))
"""Up to which code of `TensorProto.DataType` an IR version has them (onnx.proto, `Version`)."""
_NEWEST_TYPES = 14


def needed_ir_version(graph: Graph) -> int:
    """The oldest IR version that has the opsets that a model imports and what it is made of.

    Metadata does not count: older readers skip it.
    """
    imports = [entry for root in (graph, *graph.functions) for entry in opset_imports(root)]
    return max(
        helper.find_min_ir_version_for(imports, ignore_unknown=True),
        _FUNCTIONS if graph.functions else 0,
        _OVERLOADS if any(function.overload for function in graph.functions) else 0,
        _DEVICES if graph.model.configuration else 0,
        *(_for_type(dtypes.to_onnx(dtype)) for dtype in {t.dtype for t in _tensors(graph) if t.dtype is not None}),
    )


def _for_type(code: int) -> int:
    return next((version for last, version in _ELEMENT_TYPES if code <= last), _NEWEST_TYPES)


def _tensors(graph: Graph) -> Iterator[Tensor]:
    for scope in every_graph(graph):
        yield from scope.inputs
        yield from scope.constants
        for node in scope.nodes:
            yield from node.inputs
            yield from node.outputs
