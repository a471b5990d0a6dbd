"""Which nodes are quantized, and why the others are not."""

from __future__ import annotations

import enum
import fnmatch
import math
from collections.abc import Callable, Collection, Iterable, Set
from dataclasses import dataclass, field

import numpy as np

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.ir.element_types import element_types
from onnxopt.ir.proven import ProvenShapes
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.quantization import QuantizationRules
from onnxopt.quantization.operands import constant, limits_of, value_inputs

QUANTIZING = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
_TENSOR = ("tensor_type", None)
_INTEGER_PRODUCTS = ("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")


class Role(enum.Enum):
    """What a node is to quantization."""

    LAYER = "layer"
    """It has weights, or multiplies matrices."""
    COMPUTED = "computed"
    """It has an integer kernel."""
    SHARED = "shared"
    """It hands on values."""
    BETWEEN = "between"
    """It computes in float, and what is round it in integers."""
    FUSED = "fused"
    """It clips what is before it."""
    RESIDUAL = "residual"
    """It adds a branch to what a layer gives, of which only the branch is quantized."""


@dataclass
class Selection:
    """The nodes of the main graph that quantization may do something about."""

    roles: dict[ir.Node, Role] = field(default_factory=dict)
    quantized: list[ir.Node] = field(default_factory=list)
    """Layers that were found quantized."""
    left: list[ir.Node] = field(default_factory=list)
    """Layers that the user, the rules or a type left in float."""
    inner: int = 0
    """Layers in subgraphs and functions, which are not quantized."""
    values: dict[ir.Tensor, ir.Constant] = field(default_factory=dict)
    """Of tensors that are constants, what they are."""


def matching(graph: ir.Graph, patterns: Iterable[str], option: str) -> set[ir.Node]:
    """The nodes of the main graph whose name, operator or output one of the glob patterns matches.

    Raises:
        BadOption: A pattern matches none.
    """
    found: set[ir.Node] = set()
    for pattern in patterns:
        hits = {
            node
            for node in graph.nodes
            if any(fnmatch.fnmatchcase(name, pattern) for name in (node.name, node.op)) or _gives(node, pattern)
        }
        if not hits:
            raise BadOption(f"quantize: {option}={pattern} matches no node: give the name of a node or operator")
        found |= hits
    return found


def select(
    graph: ir.Graph, rules: QuantizationRules, ops: Collection[str], floats: Set[ir.Node], ctx: Context
) -> Selection:
    """Sort the nodes of the main graph by their roles.

    Args:
        graph: The model.
        rules: Of the target.
        ops: Only these operators, apart from those that hand values on; all for none.
        floats: Nodes to leave in float.
        ctx: Is told why layers were left alone.
    """
    return _Selecting(graph, rules, ops, floats, ctx).run()


class _Selecting:
    def __init__(
        self, graph: ir.Graph, rules: QuantizationRules, ops: Collection[str], floats: Set[ir.Node], ctx: Context
    ) -> None:
        self.graph, self.rules, self.ops, self.floats, self.ctx = graph, rules, ops, floats, ctx
        self.types = element_types(graph)
        self.shapes: Callable[[], ProvenShapes] = lambda: ctx.analysis(ProvenShapes, graph)
        self.found = Selection()

    def run(self) -> Selection:
        found, rules = self.found, self.rules
        for node in self.graph.nodes:
            for tensor in node.inputs:
                if tensor.name and tensor not in found.values and (known := constant(tensor)) is not None:
                    found.values[tensor] = known
            role = self._role(node)
            if role is None:
                if node.is_op(*_INTEGER_PRODUCTS):
                    found.quantized.append(node)
                continue
            reason = self._obstacle(node, role)
            if reason is None:
                found.roles[node] = role
            elif role is Role.LAYER:
                (found.quantized if reason == _TWICE else found.left).append(node)
                self.ctx.refuse(reason, node)
        found.inner = sum(
            1 for scope in ir.every_graph(self.graph) if scope is not self.graph
            for node in scope.nodes if node.is_op(*rules.layers)
        )  # fmt: skip
        return found

    def _role(self, node: ir.Node) -> Role | None:
        if not node.is_standard:
            return None
        for ops, role in (
            (self.rules.layers, Role.LAYER),
            (self.rules.computed, Role.COMPUTED),
            (self.rules.shared, Role.SHARED),
            (self.rules.fused, Role.FUSED),
            (self.rules.between, Role.BETWEEN),
        ):
            if node.op in ops:
                return role
        return Role.RESIDUAL if self.rules.residual and node.op == "Add" else None

    def _obstacle(self, node: ir.Node, role: Role) -> str | None:
        """Why a node is left in float."""
        if self.ops and role in (Role.LAYER, Role.COMPUTED) and node.op not in self.ops:
            return f"{node.op} is not among the operators asked for"
        before = node.inputs[0].producer
        if node in self.floats or (
            role is Role.FUSED and before in self.floats and len(before.outputs[0].outputs) == 1
        ):
            return "to be kept in float"
        values = [node.inputs[index] for index in value_inputs(node)]
        if any(tensor.producer is not None and tensor.producer.is_op(*QUANTIZING) for tensor in values) or any(
            reader.is_op(*QUANTIZING) for tensor in node.outputs for reader in tensor.outputs
        ):
            return _TWICE
        for tensor in (*values, *(tensor for tensor in node.outputs[:1] if tensor.name)):
            if isinstance(tensor, ir.Variable) and tensor.type not in _TENSOR:
                return f"'{tensor.name}' is no tensor"
            dtype = tensor.dtype if tensor.dtype is not None else self.types.get(tensor)
            if dtype != np.float32:
                what = "of no certain type" if dtype is None else dtype.name
                return f"'{tensor.name}' is {what}, and only float32 is quantized"
        if role is Role.FUSED:
            limits = limits_of(node)
            return "its limits are computed" if limits is None else None
        if node.op in self.rules.beside and role is Role.SHARED and not self._is_beside(node):
            return "its integer kernel is slow where none is next to it"
        if node.op == "Resize" and node.attr("mode", "nearest") != "nearest" and role is Role.SHARED:
            return "it computes values between those of its input"
        if node.op == "Resize" and node.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
            return "it fills in a value of its own"
        return self._obstacle_of_layer(node) if role is Role.LAYER else None

    def _is_beside(self, node: ir.Node) -> bool:
        """Whether something else than an operator of `between` is before a node, or a layer behind it."""
        before = node.inputs[0].producer
        return (
            before is None
            or self._role(before) is not Role.BETWEEN
            or any(self._role(reader) is Role.LAYER for reader in node.outputs[0].outputs)
        )

    def _obstacle_of_layer(self, node: ir.Node) -> str | None:
        rules, values = self.rules, self.found.values
        first, weight = node.inputs[0], node.inputs[1]
        if first in values and weight in values:
            return "it is a constant: run fold-constants first"
        if first not in values and weight not in values:
            if _is_of_constants(weight):
                return f"its weight '{weight.name}' is computed from constants: run fold-constants first"
            if not rules.products and node.is_op("MatMul", "Gemm"):
                return "it multiplies two activations"
        if not rules.vectors and node.is_op("MatMul", "Gemm") and self._rows(node) == 1:
            return "it multiplies a single row: that takes as long as reading the weight"
        if node.is_op("Conv") and weight in values and rules.first_channels:
            channels = (weight.shape or (0, 0))[1] * node.attr("group", 1)
            if channels < rules.first_channels and first in self.graph.inputs:
                return f"it is the first layer and has {channels} input channels, too few for integers to be faster"
        return None

    def _rows(self, node: ir.Node) -> int | None:
        """How many rows the data of a product have in all, where that is certain."""
        data, weight = node.inputs[:2]
        if data in self.found.values:
            data = weight
        shape = self.shapes().shape(data)
        if shape is None or any(extent is None for extent in shape):
            return None
        if node.op == "Gemm" and node.attr("transA", 0):
            return shape[1]
        return math.prod(extent for extent in shape[:-1] if extent is not None)


_TWICE = "it is quantized already"


def _gives(node: ir.Node, pattern: str) -> bool:
    return not node.name and any(fnmatch.fnmatchcase(tensor.name, pattern) for tensor in node.outputs if tensor.name)


def _is_of_constants(tensor: ir.Tensor, depth: int = 8) -> bool:
    """Whether a tensor depends on constants alone, as far as is looked."""
    if isinstance(tensor, ir.Constant):
        return True
    node = tensor.producer
    if node is None or depth == 0 or node.is_op(*QUANTIZING):
        return False
    return all(_is_of_constants(each, depth - 1) for each in node.inputs if each.name)
