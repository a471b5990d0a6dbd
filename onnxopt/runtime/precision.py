"""How coarsely a model computes, so that a comparison asks for no more than its arithmetic can give."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import GraphProto, ModelProto, TensorProto

from onnxopt.runtime.scopes import Scope, every_scope

_EPS: dict[int, float] = {
    TensorProto.DOUBLE: 2.0**-52,
    TensorProto.FLOAT: 2.0**-23,
    TensorProto.FLOAT16: 2.0**-10,
    TensorProto.BFLOAT16: 2.0**-7,
}
_HALF = (_EPS[TensorProto.FLOAT16], _EPS[TensorProto.BFLOAT16])
_QUANTIZED = 2.0**-8
"""One step of eight bits: a sum that moves by its last bit may fall on the next step."""


def coarsest_rounding(model: ModelProto) -> float:
    """The largest `eps` among the types that the model computes in, as far as it declares them; 0.0 for none.

    Reads the types of inputs, outputs, value infos, initializers and Casts; a QuantizeLinear counts as eight bits.
    """
    return max((eps for scope in every_scope(model) for eps in _roundings(scope)), default=0.0)


def is_widened(model: ModelProto) -> bool:
    """Whether it computes in a 16-bit float, as far as it declares its types.

    onnxruntime's CPU has few such kernels. It computes the rest in float32 and, optimizations off or not, leaves the
    rounding out between neighbours that it widened: which bits come out then depends on which nodes are neighbours.
    """
    return any(eps in _HALF for scope in every_scope(model) for eps in _roundings(scope))


def _roundings(scope: Scope) -> Iterator[float]:
    values = list(scope.value_info)
    if isinstance(scope, GraphProto):
        values += [*scope.input, *scope.output]
        yield from (_EPS.get(tensor.data_type, 0.0) for tensor in scope.initializer)
    yield from (_EPS.get(value.type.tensor_type.elem_type, 0.0) for value in values)
    for node in scope.node:
        if node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear"):
            yield _QUANTIZED
        elif node.op_type == "Cast":
            yield from (_EPS.get(attribute.i, 0.0) for attribute in node.attribute if attribute.name == "to")
