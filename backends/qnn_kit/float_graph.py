"""The float model inside a quantized one, and the encodings that were around it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from onnxopt import ir
from onnxopt.ir.edit import Edit
from onnxopt.linear.match import constant_of
from onnxopt.pipeline.backend import Problem
from onnxopt.quantization.encoding import TYPES, Encoding, Integer
from onnxopt.quantization.legality.facts import Coding, Facts, coding

_BIAS = "int32"
_OUTPUT_CHANNELS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}
"""The axis of a weight that Qualcomm's format means by several encodings of one tensor: it does not name one."""
_UNQUANTIZED = "_raw"
"""What `quantize` puts behind the name of a tensor that it quantizes; the float model has the name that users know."""
_FUNCTION = "Qualcomm's converter takes no QuantizeLinear in a local function: inline it"


@dataclass
class FloatGraph:
    """A graph without QuantizeLinear and DequantizeLinear."""

    graph: ir.Graph
    encodings: dict[ir.Tensor, Encoding] = field(default_factory=dict)
    """What its tensors were stored as."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Encodings that cannot be handed on, by reason."""

    def put(self, tensor: ir.Tensor, encoding: Encoding) -> None:
        """Hand an encoding on, unless the tensor has another one already."""
        if tensor not in self.encodings:
            self.encodings[tensor] = encoding
        elif not _same(self.encodings[tensor], encoding):
            self.left_out["a tensor may have one encoding, and its first one stays"] += 1


def problems_of(graph: ir.Graph) -> list[Problem]:
    """What cannot be said as a float model with encodings."""
    facts = Facts(graph)
    inside = {node for function in graph.functions for scope in ir.every_graph(function) for node in scope.nodes}
    found = []
    for each in facts.codings:
        why = _FUNCTION if each.node in inside else _obstacle(each, facts)
        if why:
            found.append(Problem(each.node.label, why))
    return found


def float_graph(graph: ir.Graph) -> FloatGraph:
    """A copy of a graph in float; the graph itself is left alone. `problems_of` finds nothing in it."""
    found = FloatGraph(graph.copy())
    codings = Facts(found.graph).codings
    with ir.edit(found.graph) as edit:
        for each in codings:
            if not each.is_quantize:
                _strip(each, found, edit)
        for each in codings:
            if not edit.was_removed(each.node) and each.is_quantize and not edit.is_used(each.result):
                edit.remove(each.node)
    return found


def _obstacle(each: Coding, facts: Facts) -> str:
    """Why a coding cannot be taken out; empty where it can."""
    if each.integers not in TYPES:
        return f"an encoding has integers of 4, 8 or 16 bits, not {each.integers or 'an unknown type'}"
    if each.scale is None or (each.has_zero and each.zero is None):
        return "its scale or zero point is computed: an encoding is a constant"
    if each.is_quantize:
        readers = each.result.outputs
        bare = [node for node in readers if node.op != "DequantizeLinear" or node.inputs[0] is not each.result]
        if each.result in facts.outputs or bare:
            return (
                "what it makes is read as integers: the kit is for floats between QuantizeLinear and DequantizeLinear"
            )
        return ""
    maker = coding(each.source.producer, each.opset)
    if maker is None or not maker.is_quantize:
        return "" if each.is_constant else "it reads integers that no QuantizeLinear makes: give the model float inputs"
    if maker.scale is not None and not _same(encoding_of(maker), encoding_of(each)):
        return "its scale or zero point is not that of its QuantizeLinear: the two change values"
    return ""


def encoding_of(each: Coding) -> Encoding:
    """The encoding that a coding applies."""
    dtype = TYPES[each.integers]
    scale = np.asarray(each.scale, np.float32)
    zero = np.zeros(scale.shape, dtype) if each.zero is None else np.asarray(each.zero)
    symmetric = dtype.kind != "u" and each.integers != "uint4" and not zero.astype(np.int64).any()
    if scale.size == 1 and not each.block:
        scale, zero = scale.reshape(()), zero.reshape(())
    return Encoding(Integer(each.integers, symmetric), scale, zero, each.axis, each.block or None)


def _same(one: Encoding, other: Encoding) -> bool:
    return (
        (one.integer.name, one.axis, one.block) == (other.integer.name, other.axis, other.block)
        and np.array_equal(one.scale, other.scale)
        and np.array_equal(one.zero_point.astype(np.int64), other.zero_point.astype(np.int64))
    )


def _strip(each: Coding, found: FloatGraph, edit: Edit) -> None:
    """Take out a DequantizeLinear: its readers read the floats that it came from, or the weight that it makes."""
    maker = coding(each.source.producer, each.opset)
    encoding = encoding_of(each)
    if maker is not None and maker.is_quantize:
        reals = maker.source
    else:
        reals = _weight(each, encoding, edit)
    result, readers = each.result, list(each.result.outputs)
    if edit.obstacle(result, reals):
        each.node.op, each.node.domain = "Identity", None
        each.node.attrs.clear()
        each.node.inputs.clear()
        each.node.inputs.append(reals)
    else:
        edit.replace_all_uses(result, reals)
        edit.remove(each.node)
        if reals.name == f"{result.name}{_UNQUANTIZED}":
            reals.name, result.name = result.name, reals.name
    _hand_on(found, reals, encoding, readers)


def _weight(each: Coding, encoding: Encoding, edit: Edit) -> ir.Constant:
    stored = constant_of(each.source)
    if stored is None:
        raise TypeError(f"{each.node.label} reads no constant")
    values = encoding.dequantize(stored.read())
    kind = each.result.dtype
    return ir.Constant(edit.fresh(f"{stored.name}_float"), values if kind is None else values.astype(kind))


def _hand_on(found: FloatGraph, reals: ir.Tensor, encoding: Encoding, readers: list[ir.Node]) -> None:
    if encoding.integer.name == _BIAS:
        found.left_out["biases of 32 bits: their encoding follows from input and weight"] += 1
    elif encoding.block is not None:
        found.left_out["in blocks: the format has none"] += 1
    elif encoding.axis is not None and not _along_outputs(encoding.axis, reals, readers):
        found.left_out["along another axis than the output channels: the format has none"] += 1
    else:
        found.put(reals, encoding)


def _along_outputs(axis: int, reals: ir.Tensor, readers: list[ir.Node]) -> bool:
    rank = len(reals.shape) if reals.shape is not None else None
    if rank is None:
        return False
    for node in readers:
        wanted = _OUTPUT_CHANNELS.get(node.op)
        if node.op == "Gemm":
            wanted = 0 if node.attr("transB", 0) else 1
        if wanted is None or wanted % rank != axis % rank:
            return False
    return bool(readers)
