"""What a graph computes in, whether that is what is asked for, and the passes that make it so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from onnx import TensorProto

from onnxopt import ir
from onnxopt.linear.layer_weights import layer_weights
from onnxopt.pipeline.backend import Problem

Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8", "int4"]
_TYPES = {
    "fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8", "fp8": "float8_e4m3fn", "int4": "int4",
}  # fmt: skip
_FLOATS = ("float16", "bfloat16")
_PASSES = {
    "fp16": "convert-float16",
    "bf16": "convert-float16{type=bfloat16}",
    "int8": "quantize",
    "fp8": "quantize-weights{type=fp8}",
    "int4": "quantize-weights{type=int4 include=OPERATORS}",
}
_OPSETS = {"fp16": 6, "bf16": 13, "int8": 13, "fp8": 19, "int4": 21}
"""Of the operators that carry them: Cast, Cast, Quantize- and DequantizeLinear with an axis, of float8, of int4."""


def passes_for(graph: ir.Graph, precision: Precision | None) -> str:
    """The pipeline that makes of a graph what is asked for; empty where it is that, or none does."""
    if precision is None or precision not in _PASSES or is_in(graph, precision):
        return ""
    since, last = _OPSETS[precision], _PASSES[precision]
    if precision == "int4":  # of other layers the axis that is summed over is none that the parser takes blocks along
        products = sorted({node.op for node in ir.every_node(graph) if node.is_op("Gemm", "MatMul")})
        if not products:
            return ""
        last = last.replace("OPERATORS", ",".join(products))
    return ",".join([f"convert-opset{{opset={since}}}"] * (graph.opset < since) + [last])


def problems(graph: ir.Graph, precision: Precision | None) -> list[Problem]:
    """Where a graph is not in the precision that is asked for."""
    if precision is None or is_in(graph, precision):
        return []
    if precision == "fp32":
        found = ", ".join(sorted(stored_types(graph) | float_types(graph)))
        reason = f"precision=fp32 is asked for, and it has {found}: leave precision away, or begin with the float model"
    else:
        passes = passes_for(graph, precision)
        helps = f"run {passes} with --target tensorrt" if passes else "it has no Gemm or MatMul, the layers for it"
        reason = f"precision={precision} is asked for, and nothing in it is {_TYPES[precision]}: {helps}"
    return [Problem("the graph", reason)]


def is_in(graph: ir.Graph, precision: Precision) -> bool:
    """Whether the graph computes in it, or, below 16 bits, dequantizes from it. What is not told to be stays float."""
    if precision == "fp32":
        return not stored_types(graph) and not float_types(graph)
    if precision in ("fp16", "bf16"):  # a Cast alone makes nothing narrow that has weights of float32
        return _TYPES[precision] in _matrices(graph) or (
            "float32" not in {str(weight.constant.dtype) for weight in layer_weights(graph)}
            and _TYPES[precision] in float_types(graph)
        )
    return _TYPES[precision] in stored_types(graph)


def stored_types(graph: ir.Graph) -> set[str]:
    """Types that DequantizeLinear reads, without int32, which biases have."""
    found = set()
    for node in ir.every_node(graph):
        if node.is_op("DequantizeLinear"):
            read = node.inputs[0]
            zero = node.inputs[2] if len(node.inputs) > 2 and not node.inputs[2].is_empty() else None
            dtype = read.dtype if read.dtype is not None else getattr(zero, "dtype", None)
            found.add("uint8" if dtype is None else str(dtype))
    return found - {"int32"}


def float_types(graph: ir.Graph) -> set[str]:
    """Narrow floats that it computes in."""
    return set(_floats(graph)) & set(_FLOATS)


def _matrices(graph: ir.Graph) -> set[str]:
    """Types of constants of two dimensions or more."""
    read = (tensor for node in ir.every_node(graph) for tensor in node.inputs)
    return {str(each.dtype) for each in read if isinstance(each, ir.Constant) and len(each.shape) > 1}


def _floats(graph: ir.Graph) -> Iterator[str]:
    numbers = {int(TensorProto.FLOAT16): "float16", int(TensorProto.BFLOAT16): "bfloat16"}
    yield from (str(tensor.dtype) for tensor in graph.inputs)
    for node in ir.every_node(graph):
        if node.is_op("Cast"):
            yield numbers.get(node.attr("to", 0), "")
        yield from (str(tensor.dtype) for tensor in node.inputs if isinstance(tensor, ir.Constant))
