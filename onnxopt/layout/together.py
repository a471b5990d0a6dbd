"""Nodes that engines compute as one, so that no Transpose should come between them where another place is as good."""

from __future__ import annotations

from collections.abc import Iterable

from onnxopt.ir.node import Node

_ACTIVATIONS = frozenset(
    {"Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Mul", "PRelu", "Relu", "Sigmoid", "Tanh"}
)
_CONV = _ACTIVATIONS | {"Add", "BatchNormalization"}
_FOLLOWED_BY = {
    "Add": _ACTIVATIONS | {"Div", "LayerNormalization", "RMSNormalization", "ReduceMean", "Sub"},
    "Conv": _CONV,
    "ConvTranspose": _CONV,
    "Gemm": _ACTIVATIONS,
    "MatMul": frozenset({"Add"}),
}
"""onnxruntime's ConvActivation, ConvAdd, ConvMul, ConvBN, GemmActivation, MatMulAdd, BiasGelu, SkipLayerNormalization
fusions; the other engines have the like."""


def belong_together(maker: Node | None, readers: Iterable[Node]) -> bool:
    """Whether an engine looks for `maker` with one of `readers` behind it; Q and DQ belong to what is around them."""
    if maker is None or not maker.is_standard:
        return False
    if maker.op in ("DequantizeLinear", "QuantizeLinear"):
        return True
    followers = _FOLLOWED_BY.get(maker.op, frozenset())
    return any(reader.op == "QuantizeLinear" or reader.op in followers for reader in readers)
