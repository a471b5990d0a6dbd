"""A quantized graph as it is: every QuantizeLinear and DequantizeLinear, and what stands between them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from onnxopt import ir
from onnxopt.ir import dtypes
from onnxopt.ir.known import known_value
from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.values import Array
from onnxopt.linear.match import constant_of

PAIR = ("QuantizeLinear", "DequantizeLinear")
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with a weight, which engines compute in integers."""
DOMAINS = (None, "", "ai.onnx", "com.microsoft")
"""Where QuantizeLinear and DequantizeLinear are defined: onnxruntime has its own for 16 and 4 bits in old opsets."""
_MOST = 1 << 24
"""Scales that are read: of a weight in blocks of 32, those of 2 GB of float32."""
MOVES = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that only say anew how values lie."""


@dataclass(frozen=True, eq=False)
class Coding:
    """One QuantizeLinear or DequantizeLinear."""

    node: ir.Node
    opset: int

    @property
    def is_quantize(self) -> bool:
        """Whether reals become integers here, and not the other way round."""
        return self.node.op == "QuantizeLinear"

    @property
    def source(self) -> ir.Tensor:
        """What is read: reals, or integers."""
        tensor: ir.Tensor = self.node.inputs[0]
        return tensor

    @property
    def result(self) -> ir.Tensor:
        """What is made."""
        tensor: ir.Tensor = self.node.outputs[0]
        return tensor

    @functools.cached_property
    def scale(self) -> Array | None:
        """None where it is computed, or has more than 16,777,216 elements."""
        return known_value(self.node.inputs[1], _MOST) if len(self.node.inputs) > 1 else None

    @property
    def is_known(self) -> bool:
        """Whether the scale is there before the model runs, however large."""
        return len(self.node.inputs) > 1 and constant_of(self.node.inputs[1]) is not None

    @property
    def has_zero(self) -> bool:
        """Whether the zero point is written."""
        return len(self.node.inputs) > 2 and bool(self.node.inputs[2].name)

    @functools.cached_property
    def zero(self) -> Array | None:
        """As it is written; None where it is not, is computed, or has more elements than that."""
        return known_value(self.node.inputs[2], _MOST) if self.has_zero else None

    @property
    def block(self) -> int:
        """How many values along the axis share a scale; 0 for no blocks."""
        size = self.node.attr("block_size", 0)
        return size if isinstance(size, int) else 0

    @property
    def axis(self) -> int | None:
        """Along which there are several scales, from the end if negative; None for one, or for unknown ones."""
        axis = self.node.attr("axis", 1)
        scale = self.scale
        is_single = scale is None or scale.size == 1
        return None if is_single or not isinstance(axis, int) else axis

    @functools.cached_property
    def integers(self) -> str:
        """The name of the integer type; empty where it is not known (ONNX: uint8 where nothing says otherwise)."""
        if self.has_zero:
            zero = self.node.inputs[2]
            return str(zero.dtype) if zero.dtype is not None else "" if self.zero is None else str(self.zero.dtype)
        code = self.node.attr("output_dtype", 0)
        if self.is_quantize:
            found = dtypes.to_numpy(code) if isinstance(code, int) and code else np.dtype(np.uint8)
            return "" if found is None else str(found)
        maker = coding(self.source.producer, self.opset)
        if maker is not None and maker.is_quantize:
            return maker.integers
        constant = constant_of(self.source)
        known = self.source.dtype if constant is None else constant.dtype
        return "" if known is None else str(known)

    @property
    def is_constant(self) -> bool:
        """Whether it codes something that is known before the model runs: a weight, a bias."""
        tensor = self.source
        maker = coding(tensor.producer, self.opset)
        return constant_of(maker.source if maker is not None else tensor) is not None


def coding(node: ir.Node | None, opset: int) -> Coding | None:
    """The coding that a node is; None for any other node."""
    return Coding(node, opset) if node is not None and node.op in PAIR and node.domain in DOMAINS else None


@dataclass(frozen=True)
class Site:
    """A node, and the opset that it is of."""

    node: ir.Node
    opset: int

    def read(self, index: int) -> Coding | None:
        """The DequantizeLinear that an input comes from, moved or not; None where there is none."""
        return dequantized(self.node.inputs[index], self.opset) if self.has(index) else None

    def has(self, index: int) -> bool:
        """Whether the node has that input."""
        return index < len(self.node.inputs) and bool(self.node.inputs[index].name)


class Facts:
    """What the checks ask of a quantized model, in all its scopes."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.sites: list[Site] = []
        self.codings: list[Coding] = []
        self.outputs: set[ir.Tensor] = set()
        for scope in ir.every_graph(graph):
            self.outputs.update(scope.outputs)
            for node in scope.nodes:
                found = coding(node, scope.opset)
                if found is not None:
                    self.codings.append(found)
                else:
                    self.sites.append(Site(node, scope.opset))

    @functools.cached_property
    def shapes(self) -> ProvenShapes:
        """Shapes that are certain."""
        return ProvenShapes(self.graph)

    def of(self, *ops: str) -> Iterator[Site]:
        """The nodes of these operators of the default domain."""
        return (site for site in self.sites if site.node.is_op(*ops))

    @property
    def activations(self) -> Iterator[Coding]:
        """The codings of what is known only at run time."""
        return (one for one in self.codings if not one.is_constant)

    @property
    def constants(self) -> Iterator[Coding]:
        """The codings of weights and biases."""
        return (one for one in self.codings if one.is_constant)

    def quantized(self, tensor: ir.Tensor, opset: int) -> Coding | None:
        """The QuantizeLinear that reads a tensor."""
        found = (coding(reader, opset) for reader in tensor.outputs)
        return next((one for one in found if one is not None and one.is_quantize), None)

    def biases(self) -> Iterator[tuple[Site, Coding]]:
        """Layers whose bias comes from a DequantizeLinear."""
        for site in self.of("Conv", "ConvTranspose", "Gemm"):
            found = site.read(2)
            if found is not None and found.is_constant:
                yield site, found

    @functools.cached_property
    def bias_nodes(self) -> set[ir.Node]:
        """Codings that are read as the bias of a layer, or are of int32, as biases are."""
        return {found.node for _, found in self.biases()} | {
            one.node for one in self.constants if one.integers == "int32"
        }

    def axis_of(self, site: Site, index: int) -> tuple[Coding, int] | None:
        """The coding of an input and its axis as the layer sees it; None where there is no such axis.

        A Transpose between is followed; behind any other node that moves data the axis is not known: -1000.
        """
        found = site.read(index)
        if found is None or found.axis is None:
            return None
        rank = len(constant_shape(found) or ()) or None
        axis = found.axis if found.axis >= 0 or rank is None else found.axis + rank
        tensor = site.node.inputs[index]
        moves = []
        while tensor.producer is not found.node:
            moves.append(tensor.producer)
            tensor = tensor.producer.inputs[0]
        for move in reversed(moves):
            perm = move.attr("perm")
            if move.op == "Transpose" and isinstance(perm, list) and axis in perm:
                axis = perm.index(axis)
            elif move.op == "Transpose" and "perm" not in move.attrs and rank is not None:
                axis = rank - 1 - axis
            elif move.op != "Identity":
                return found, -1000
        return found, axis


def dequantized(tensor: ir.Tensor, opset: int) -> Coding | None:
    """The DequantizeLinear that a tensor comes from, through nodes that only move data."""
    node = tensor.producer
    while node is not None and node.is_op(*MOVES):
        node = node.inputs[0].producer
    found = coding(node, opset)
    return None if found is None or found.is_quantize else found


def constant_shape(found: Coding) -> tuple[int, ...] | None:
    """The shape of the constant that is coded; None of anything else."""
    maker = coding(found.source.producer, found.opset)
    constant = constant_of(maker.source if maker is not None else found.source)
    return None if constant is None else tuple(constant.shape)


def weight_axis(site: Site, rank: int) -> int:
    """Along which the weight of a layer has its output channels (ONNX: Conv, ConvTranspose, Gemm, MatMul)."""
    if site.node.op == "Gemm":
        return 0 if site.node.attr("transB", 0) else 1
    return {"Conv": 0, "ConvTranspose": 1}.get(site.node.op, rank - 1)
