"""What TensorRT's parser takes without a word for something else than the model says, quantization apart.

Measured with TensorRT-RTX 1.7, for attributes so: an engine that is the same to the bit as that of another model.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator

import numpy as np
from onnx import defs

from onnxopt import ir
from onnxopt.pipeline.backend import Problem
from onnxopt.pipeline.base import describe
from onnxopt.quantization.legality.facts import PAIR

_ONNX = (None, "", "ai.onnx")
_SAME = {("com.microsoft", "Gelu")}
"""Operators of other domains that are what ONNX has by the same name."""
_DEFAULTS = {"Trilu": ("upper", 1, 0)}
"""By operator, the attribute whose default is not ONNX's, but another."""
_LARGEST = float(np.finfo(np.float32).max)


def misunderstood(graph: ir.Graph) -> Iterator[Problem]:
    """Nodes, inputs and outputs, in all scopes."""
    yield from _namesakes(graph)
    yield from _quantizing_functions(graph)
    for node in ir.every_node(graph):
        if node.is_standard:
            yield from _attributes(node)
        yield from _large_doubles(node)
    yield from _interface(graph)


def _namesakes(graph: ir.Graph) -> Iterator[Problem]:
    """Nodes of other domains, and calls of local functions, which the parser takes for ONNX's operators by the name."""
    ours = {(function.domain, function.name) for function in graph.functions}
    for node in ir.every_node(graph):
        who = node.domain, node.op
        if node.domain in _ONNX or node.op not in _operators() or who in _SAME:
            continue
        helps = "inline-functions" if who in ours else "rename it, or say it by ONNX's operators"
        yield Problem(describe(node), f"is {node.domain}'s, and is silently taken for ONNX's {node.op}; {helps}")


@functools.cache
def _operators() -> frozenset[str]:
    return frozenset(schema.name for schema in defs.get_all_schemas() if schema.domain == "")


def _quantizing_functions(graph: ir.Graph) -> Iterator[Problem]:
    """Functions with Q/DQ, which the parser inlines: it takes a zero point of uint8 that is handed in for int8."""
    for function in graph.functions:
        node = next((node for node in function.nodes if node.is_op(*PAIR)), None)
        if node is not None:
            where = f"function {function.domain}.{function.name}"
            yield Problem(where, f"has {describe(node)}, whose types are known once it is inlined; inline-functions")


def _attributes(node: ir.Node) -> Iterator[Problem]:
    name, default, other = _DEFAULTS.get(node.op, ("", 0, 0))
    if name and name not in node.attrs:
        reason = (
            f"does not say {name}, which is {default} then, and is silently taken for {other}; write {name}={default}"
        )
        yield Problem(describe(node), reason)
    if node.op.startswith("Random") and "seed" in node.attrs:
        yield Problem(describe(node), "its seed is silently ignored, and each run differs; leave it out if they may")


def _large_doubles(node: ir.Node) -> Iterator[Problem]:
    """Constants of float64, which becomes float32."""
    for constant in (*node.inputs, node.attrs.get("value")):
        if not isinstance(constant, ir.Constant) or constant.dtype != np.float64:
            continue
        values = constant.read()
        large = values[np.isfinite(values) & (np.abs(values) > _LARGEST)]
        if large.size:
            reason = f"reads {large.flat[0]:g} of float64, silently clamped to {_LARGEST:g} of float32; scale it down"
            yield Problem(describe(node), reason)


def _interface(graph: ir.Graph) -> Iterator[Problem]:
    """Inputs and outputs that the engine has otherwise."""
    for tensor in graph.inputs:
        where = f"input '{tensor.name}'"
        if isinstance(tensor, ir.Variable) and tensor.default is not None:
            reason = "has a default value, and silently is no input of the engine; make it a constant or a plain input"
            yield Problem(where, reason)
        if tensor.dtype == np.float64:
            yield Problem(where, "is float64, and silently float32 in the engine; take float32, and Cast in the model")
    for tensor, times in Counter(graph.outputs).items():
        where = f"output '{tensor.name}'"
        if times > 1:
            yield Problem(where, f"is listed {times} times, and is in the engine once; list it once")
        if tensor in graph.inputs:
            yield Problem(where, f"is an input too, which the engine calls __{tensor.name}; put Identity between")
        if tensor.dtype == np.float64:
            yield Problem(where, "is float64, and silently float32 in the engine; Cast it in the model")
