"""In which precision an engine multiplies and accumulates, node by node of the model that it was built of.

The builder does not say it of a layer: it says the types of what goes in. A product is computed in the wider type of
its two factors, so a layer with int8 data and int8 weights runs in int8, and one with int8 weights alone in float.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnxopt import ir

if TYPE_CHECKING:
    from onnxopt.backends.tensorrt.layers import EngineLayer, LayerTensor

UNKNOWN = "unknown"
_PRECISIONS = {
    "float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "float8": "fp8", "int8": "int8", "uint8": "int8",
    "float4": "fp4", "int4": "int4",
}  # fmt: skip
"""Of what can be multiplied, the widest first; spelled as the target's option `precision`."""
_WIDTHS = list(_PRECISIONS.values())
_QUANTIZED = ("fp8", "int8", "fp4", "int4")
_MULTIPLYING = ("conv", "correlation", "deconv", "fc", "gemm", "matmul", "mha")
"""Within the type of a layer that is a product. `correlation` is the builder's word for a convolution."""
_MULTIPLYING_PARTS = ("Conv", "Corr", "Deco", "Dot", "Fc", "Gemm", "Matm", "Mha")
"""Within the name of a generated kernel, `__myl_CorrMulAdd_myl0_2`: what it does, in turn. So is `MulSum`."""
_GENERATED = re.compile(r"__myl_(\w+?)_myl\d+_\d+\Z")
_ATTENTION = re.compile(r"_gemm_mha_v\d+_myl\d+_\d+\Z")
"""A fused attention core is called so, and is a `kgen` by its type."""
_INNER = re.compile(r"(.*?) \| .* \(.*\)\Z", re.DOTALL)
"""A node within another: `node | call (function)`, `node | graph (then_branch) | node (If)`."""
_MOVES = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""What may stand between a DequantizeLinear and the product that it is for."""
_SHOWN = 3
"""Nodes that a note names."""


def of(
    graph: ir.Graph, layers: Sequence[EngineLayer], shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Any]:
    """How many MACs of a graph an engine computes in which precision.

    Args:
        graph: What the engine was built of, its nodes named as the parser saw them.
        layers: Of the engine.
        shapes: By input: what to count for, where the graph's own shapes are dynamic.

    Returns:
        `macs` (all of the model), `by_precision` (`macs`, `share` and `nodes` of each, `unknown` where the layers do
        not tell), `fell_back` (nodes whose data is dequantized for them, and that run in float all the same),
        `weights_only` (nodes whose weights alone are, and that are meant to), `unknown` (nodes, each with the reason),
        `at` (the shapes it is counted for), `uncounted` and `assumptions` (as of `ir.costs`).
    """
    at = shapes or {}
    costs = ir.costs(graph, _dims(graph, at))
    telling = _Telling(layers)
    macs, nodes = Counter[str](), Counter[str]()
    fell_back, weights_only, unknown = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for node, count in sorted(costs.macs_by_node.items(), key=lambda item: -item[1]):
        found = telling.of(node)
        macs[found.precision] += count
        nodes[found.precision] += 1
        entry = {"node": node.name, "operator": node.op, "macs": count, "precision": found.precision}
        if found.precision == UNKNOWN:
            unknown.append({key: entry[key] for key in ("node", "operator", "macs")} | {"why": found.why})
        elif found.precision not in _QUANTIZED and (kinds := _dequantized(node)):
            (fell_back if "data" in kinds else weights_only).append(entry | {"layer": found.layer})
    shares = {
        name: {"macs": macs[name], "share": macs[name] / costs.macs if costs.macs else 0.0, "nodes": nodes[name]}
        for name in sorted(macs, key=lambda name: -macs[name])
    }
    lists = {"fell_back": fell_back, "weights_only": weights_only, "unknown": unknown}
    told = {"uncounted": costs.uncounted, "assumptions": costs.assumptions}
    return {"macs": costs.macs, "by_precision": shares, **lists, "at": {key: [*at[key]] for key in at}, **told}


def notes(found: Mapping[str, Any]) -> tuple[str, ...]:
    """What people shall hear of what `of` found, a line each; nothing where all is as the graph has it."""
    lines = []
    if fell := found["fell_back"]:
        where = ", ".join(f"'{each['node']}'" for each in fell[:_SHOWN]) + ", ..." * (len(fell) > _SHOWN)
        lines.append(f"{_nodes(fell)} with quantized data that the builder runs in float all the same: {where}")
    if lost := found["unknown"]:
        lines.append(f"{_nodes(lost)} whose precision the builder does not tell")
    return tuple(lines)


def _nodes(entries: Sequence[Mapping[str, Any]]) -> str:
    return f"{len(entries)} node{'s' * (len(entries) > 1)}"


def _dims(graph: ir.Graph, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The sizes of symbolic and unnamed dimensions, as `ir.costs` wants them."""
    found: dict[str, int] = {}
    for tensor in graph.inputs:
        for axis, (dim, size) in enumerate(zip(tensor.shape or (), shapes.get(tensor.name, ()), strict=False)):
            if not isinstance(dim, int):
                found[dim or f"{tensor.name}[{axis}]"] = size
    return found


@dataclass(frozen=True)
class _Found:
    precision: str
    layer: str = ""
    why: str = ""


class _Telling:
    """What the layers of an engine tell of nodes."""

    def __init__(self, layers: Iterable[EngineLayer]) -> None:
        self._products = defaultdict[str, list["EngineLayer"]](list)
        self._anonymous: list[EngineLayer] = []
        for layer in filter(_multiplies, layers):
            inner = (match[1] for name in layer.onnx_nodes if (match := _INNER.match(name)))
            for name in dict.fromkeys((*layer.onnx_nodes, *inner, *layer.named_after)):
                self._products[name].append(layer)
            if not layer.onnx_nodes:
                self._anonymous.append(layer)

    def of(self, node: ir.Node) -> _Found:
        """The precision of a node that multiplies.

        Where no product names it, it is one of those that name nothing: of a recurrent node, say, whose loop the
        builder takes apart. If those are all of one precision, so is the node.
        """
        named = self._products.get(node.name, [])
        found = {_precision(layer, node): layer for layer in named or self._anonymous}
        if not found:
            return _Found(UNKNOWN, why="no layer that multiplies names it: the builder does not say where it went")
        if UNKNOWN in found:
            return _Found(UNKNOWN, why=f"layer '{found[UNKNOWN].name}' reads data of several types")
        if not named and len(found) > 1:
            return _Found(UNKNOWN, why="no layer that multiplies names it, and those that name nothing differ in type")
        widest = min(found, key=_WIDTHS.index)  # profiles may differ: say the worst
        return _Found(widest, found[widest].name)


def _multiplies(layer: EngineLayer) -> bool:
    generated = _GENERATED.match(layer.name)
    if generated:
        parts = re.findall(r"[A-Z][a-z]*", generated[1])
        return any(part in _MULTIPLYING_PARTS for part in parts) or "MulSum" in generated[1]
    return any(word in layer.type.lower() for word in _MULTIPLYING) or _ATTENTION.match(layer.name) is not None


def _precision(layer: EngineLayer, node: ir.Node) -> str:
    """The wider one of the data's and the weights'; unknown where one layer reads data of several types."""
    data = [tensor for tensor in layer.inputs if tensor.dtype in _PRECISIONS]
    weights = [tensor for tensor in layer.constants if tensor.dtype in _PRECISIONS and math.prod(tensor.shape) > 1]
    data = data or weights  # two constants, that the builder leaves to the engine
    kinds = {_PRECISIONS[tensor.dtype] for tensor in data}
    if len(kinds) > 1:  # a residual that the kernel adds: the data is what has the size of an operand of the node
        kinds = {_PRECISIONS[tensor.dtype] for tensor in data if _is_operand(tensor, node)}
    if len(kinds) != 1:
        return UNKNOWN
    if weights and any(_is_weight(operand) for operand in node.inputs[:2]):
        # Scales and biases are smaller than the weights, but for one weight a channel: then integers are the weights.
        largest = max(math.prod(tensor.shape) for tensor in weights)
        likely = [_PRECISIONS[tensor.dtype] for tensor in weights if math.prod(tensor.shape) == largest]
        kinds.add(max(likely, key=_WIDTHS.index))
    return min(kinds, key=_WIDTHS.index)


def _is_operand(tensor: LayerTensor, node: ir.Node) -> bool:
    sizes = {_size(each.shape) for each in node.inputs if not each.is_empty()}
    return _size(tensor.shape) in sizes


def _size(shape: Sequence[int | str | None] | None) -> int | None:
    """Elements, but for what is dynamic; None where nothing is known."""
    if shape is None:
        return None
    return math.prod(dim for dim in shape if isinstance(dim, int) and dim > 0)


def _dequantized(node: ir.Node) -> set[str]:
    """Which operands come from a DequantizeLinear: `data`, `weights`."""
    return {
        "weights" if _is_weight(tensor) else "data"
        for tensor in node.inputs[:2]
        if (source := _origin(tensor, _MOVES).producer) is not None and source.is_op("DequantizeLinear")
    }


def _is_weight(tensor: ir.Tensor) -> bool:
    """Whether an operand is constant, dequantized or not."""
    origin = _origin(tensor, (*_MOVES, "DequantizeLinear", "QuantizeLinear"))
    return isinstance(origin, ir.Constant) or (origin.producer is not None and origin.producer.is_op("Constant"))


def _origin(tensor: ir.Tensor, through: tuple[str, ...]) -> ir.Tensor:
    """What a tensor was, before such operators."""
    while (node := tensor.producer) is not None and node.is_op(*through):
        tensor = node.inputs[0]
    return tensor
