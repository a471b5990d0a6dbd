"""Element types of values, as the operators' schemas give them: one sweep, no shapes, nothing exported."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from onnx import TensorProto

from onnxopt.ir import dtypes
from onnxopt.ir.graph import Function, Graph
from onnxopt.ir.node import Node
from onnxopt.ir.purity import Purity
from onnxopt.ir.schema import find_schema
from onnxopt.ir.tensor import Constant, Tensor, Variable

_TENSOR = ("tensor_type", None)
"""What is declared of a tensor; nothing at all may be one too, and is where a schema says so."""
_Rule: TypeAlias = int | dtypes.DType | None
"""Of an output: the input whose element type it has; or its element type; or not said by the schema."""


def element_types(main: Graph) -> dict[Variable, dtypes.DType]:
    """The element types that follow for values which have none, in the main graph and its subgraphs.

    A schema says that an output has the type of an input by giving both the same type variable (ONNX IR specification,
    "Operator type constraints"); where an attribute decides, as for Cast, the specification of the operator does.
    Values of function bodies have no one type.
    """
    purity, found = Purity(main), dict[Variable, dtypes.DType]()

    def known(tensor: Tensor) -> dtypes.DType | None:
        if isinstance(tensor, Constant):
            return tensor.dtype
        if tensor.type not in _TENSOR:
            return None
        return tensor.dtype if tensor.dtype is not None else found.get(tensor)

    def visit(scope: Graph) -> None:
        for node in scope.nodes:
            graphs = list(node.subgraphs()) if node.attrs else []
            for graph in graphs:
                enter(node, graph, scope)
                visit(graph)
            wanted = [(index, tensor) for index, tensor in enumerate(node.outputs) if _lacks(tensor)]
            if not wanted or purity.called(node) is not None:
                continue
            if graphs and node.is_op("If", "Loop", "Scan"):
                inner = [known(tensor) for tensor in graphs[0].outputs[node.op == "Loop" :]]
            else:
                inner = _given(node, scope, known)
            for index, tensor in wanted:
                dtype = inner[index] if index < len(inner) else None
                if dtype is not None:
                    found[tensor] = dtype

    def enter(node: Node, body: Graph, scope: Graph) -> None:
        """Inputs of a body have the types of what the node is given, by position."""
        if node.is_op("Loop"):
            given = [
                dtypes.to_numpy(TensorProto.INT64),
                dtypes.to_numpy(TensorProto.BOOL),
                *map(known, node.inputs[2:]),
            ]
        elif node.is_op("Scan"):
            lengths = (scope.opset_of("") or 0) < 9  # Scan-8 is first given the lengths of its sequences
            given = list(map(known, node.inputs[lengths:]))
        else:
            return
        for tensor, dtype in zip(body.inputs, given, strict=False):
            if dtype is not None and _lacks(tensor):
                found[tensor] = dtype

    if not isinstance(main, Function):
        visit(main)
    return found


def body_types(
    function: Function, given: Sequence[dtypes.DType | None], purity: Purity
) -> dict[Variable, dtypes.DType]:
    """The element types that follow in the body of a function whose inputs have these, its subgraphs left out.

    What the body declares is not asked: it may be of another call.
    """
    found: dict[Variable, dtypes.DType] = {}

    def known(tensor: Tensor) -> dtypes.DType | None:
        return tensor.dtype if isinstance(tensor, Constant) else found.get(tensor)

    def note(tensors: Sequence[Tensor], types: Sequence[dtypes.DType | None]) -> None:
        pairs = zip(tensors, types, strict=False)
        found.update((tensor, dtype) for tensor, dtype in pairs if dtype is not None and isinstance(tensor, Variable))

    note(function.inputs, given)
    for node in function.nodes:
        if purity.called(node) is None and not any(True for _ in node.subgraphs()):
            note(node.outputs, _given(node, function, known))
    return found


def _lacks(tensor: Tensor) -> bool:
    return bool(tensor.name) and isinstance(tensor, Variable) and tensor.dtype is None and tensor.type in _TENSOR


def _given(node: Node, scope: Graph, known: Callable[[Tensor], dtypes.DType | None]) -> list[dtypes.DType | None]:
    """The element types of a node's outputs."""
    special = _SPECIAL.get(node.op) if node.is_standard else None
    if special is not None:
        return [special(node, known)]
    domain = "" if node.is_standard else node.domain or ""
    rules = _rules(node.op, domain, scope.opset_of(node.domain), len(node.inputs), len(node.outputs))
    return [
        rule if not isinstance(rule, int) else known(node.inputs[rule]) if node.inputs[rule].name else None
        for rule in rules
    ]


@functools.lru_cache(maxsize=4096)
def _rules(op: str, domain: str, opset: int | None, inputs: int, outputs: int) -> tuple[_Rule, ...]:
    schema = find_schema(op, domain, opset)
    if schema is None or not schema.outputs:
        return (None,) * outputs
    given = [schema.inputs[min(index, len(schema.inputs) - 1)] for index in range(inputs)] if schema.inputs else []
    found: list[_Rule] = []
    for index in range(outputs):
        formal = schema.outputs[min(index, len(schema.outputs) - 1)]
        if len(formal.types) == 1:
            (only,) = formal.types
            found.append(_element_type(only))
        elif formal.is_homogeneous:
            same = (at for at, one in enumerate(given) if one.type_str == formal.type_str and one.is_homogeneous)
            found.append(next(same, None))
        else:
            found.append(None)
    return tuple(found)


def _element_type(text: str) -> dtypes.DType | None:
    """`tensor(float16)`, as schemas write types; None for sequences and the like."""
    if not text.startswith("tensor("):
        return None
    return dtypes.to_numpy(TensorProto.DataType.Value(text[len("tensor(") : -1].upper()))


_Special: TypeAlias = Callable[[Node, Callable[[Tensor], dtypes.DType | None]], dtypes.DType | None]


def _by_attribute(name: str, default: int | None = None) -> _Special:
    """An attribute names the element type; else the default, or where there is none the first input's."""

    def rule(node: Node, known: Callable[[Tensor], dtypes.DType | None]) -> dtypes.DType | None:
        code: Any = node.attr(name, default)
        if code is None and node.inputs:
            return known(node.inputs[0])
        return dtypes.to_numpy(code) if isinstance(code, int) else None

    return rule


def _constant(node: Node, known: Callable[[Tensor], dtypes.DType | None]) -> dtypes.DType | None:
    value = node.attr("value")
    if isinstance(value, Constant):
        return value.dtype
    if node.op == "ConstantOfShape":
        return dtypes.to_numpy(TensorProto.FLOAT) if value is None else None
    for prefix, code in (("value_int", TensorProto.INT64), ("value_float", TensorProto.FLOAT)):
        if any(name in node.attrs for name in (prefix, f"{prefix}s")):
            return dtypes.to_numpy(code)
    return None


def _quantize(node: Node, known: Callable[[Tensor], dtypes.DType | None]) -> dtypes.DType | None:
    """The zero point's, else attribute `output_dtype` (since opset 21), else uint8."""
    if len(node.inputs) > 2 and node.inputs[2].name:
        return known(node.inputs[2])
    code = node.attr("output_dtype", 0) or TensorProto.UINT8
    return dtypes.to_numpy(code) if isinstance(code, int) else None


_SPECIAL: dict[str, _Special] = {
    "Bernoulli": _by_attribute("dtype"),
    "Cast": _by_attribute("to", 0),
    "Constant": _constant,
    "ConstantOfShape": _constant,
    "EyeLike": _by_attribute("dtype"),
    "Multinomial": _by_attribute("dtype", TensorProto.INT32),
    "QuantizeLinear": _quantize,
    "RandomNormal": _by_attribute("dtype", TensorProto.FLOAT),
    "RandomNormalLike": _by_attribute("dtype"),
    "RandomUniform": _by_attribute("dtype", TensorProto.FLOAT),
    "RandomUniformLike": _by_attribute("dtype"),
}
"""Operators whose output type is no matter of type variables alone."""
