"""One layer becomes two, the first without a bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxopt.factorizing.layers import Seen
from onnxopt.factorizing.low_rank import Factors, Floats
from onnxopt.ir.edit import Edit
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Dim, Variable
from onnxopt.linear.layer import Array, Layer
from onnxopt.linear.match import rounded, set_constant

_BIAS_OPTIONAL_FROM = 11
_OF_THE_FIRST = ("alpha", "auto_pad", "beta", "dilations", "kernel_shape", "pads", "strides")
"""Attributes that the second layer does not have: `alpha` and `beta` are multiplied into the numbers."""


@dataclass(frozen=True)
class Split:
    """The numbers of two layers, as their nodes hold them."""

    inner: Array
    outer: Array
    bias: Array | None
    groups: int
    """Of the first."""
    outputs: int
    """Of the first."""

    def write(self, edit: Edit, layer: Layer) -> None:
        """A new node takes the data; the old one keeps its name, its output and its groups."""
        node = layer.node
        name, output = node.name or node.outputs[0].name, node.outputs[0]
        between = Variable(edit.fresh(f"{output.name}_factor"), output.dtype, self._shape(layer))
        kind = getattr(node.inputs[1], "_export_dtype", None)
        op, inner = node.op, self.inner
        attributes = {key: value for key, value in node.attrs.items() if key not in ("alpha", "beta", "group")}
        if self.groups > 1:
            attributes["group"] = self.groups
        if op == "Gemm" and edit.main.opset < _BIAS_OPTIONAL_FROM:
            op, inner = "MatMul", np.ascontiguousarray(inner.T) if attributes.pop("transB", 0) else inner
            attributes.clear()
        weight = Constant(edit.fresh(f"{name}_factor_weight"), inner, export_dtype=kind)
        edit.insert_before(
            node, Node(op, edit.fresh(f"{name}_factor"), attributes, [node.inputs[0], weight], [between])
        )
        for key in _OF_THE_FIRST:
            node.attrs.pop(key, None)
        edit.replace_input(node, 0, between)
        set_constant(edit, node, 1, self.outer, "weight")
        if self.bias is not None:
            set_constant(edit, node, 2, self.bias, "bias")

    def _shape(self, layer: Layer) -> list[Dim] | None:
        """Of what the first gives: as the output, but for the channels."""
        declared = layer.node.outputs[0].shape
        if declared is None or len(declared) < 2:
            return None
        shape = list(declared)
        shape[1 if layer.node.op == "Conv" else -1] = self.outputs
        return shape


def split_product(seen: Seen, factors: Factors) -> Split:
    """Two layers of a kind: a Conv of the same kernel and a 1x1 one, or two products of matrices.

    Raises:
        NoMatch: The weights are not finite in their type.
    """
    layer, shape = seen.layer, seen.layer.weight.shape
    inner, outer = (rounded(each, layer.weight.dtype, "weight") for each in (factors.inner, factors.outer))
    bias = _bias(seen, outer.astype(np.float64) @ inner.astype(np.float64))
    if layer.node.op == "Conv":
        first, second = inner.reshape(factors.rank, *shape[1:]), outer.reshape(*outer.shape[1:], *_ones(shape))
    elif layer.node.op == "Gemm" and layer.node.attr("transB", 0):
        first, second = inner[0], outer[0]
    else:
        first, second = inner[0].T, outer[0].T
    return Split(np.ascontiguousarray(first), np.ascontiguousarray(second), bias, 1, factors.rank)


def split_separable(seen: Seen, factors: Factors) -> Split:
    """A depthwise Conv, `rank` kernels for each input channel, and a 1x1 one, grouped as the layer is.

    Raises:
        NoMatch: The weights are not finite in their type.
    """
    layer, shape = seen.layer, seen.layer.weight.shape
    inner, outer = (rounded(each, layer.weight.dtype, "weight") for each in (factors.inner, factors.outer))
    groups, inputs, rank, _ = inner.shape
    by_input = outer.astype(np.float64).reshape(groups, -1, inputs, rank)
    made = np.einsum("goir,girk->goik", by_input, inner.astype(np.float64), optimize=True)
    bias = _bias(seen, made.reshape(seen.weights.shape))
    kernels = inner.reshape(layer.inputs * rank, 1, *shape[2:])
    return Split(kernels, outer.reshape(layer.outputs, -1, *_ones(shape)), bias, layer.inputs, layer.inputs * rank)


def _ones(shape: tuple[int, ...]) -> list[int]:
    return [1] * (len(shape) - 2)


def _bias(seen: Seen, made: Floats) -> Array | None:
    bias = seen.corrected(seen.weights - made)
    return None if bias is None else rounded(bias, seen.layer.weight.dtype, "bias")
