"""Where onnxruntime (1.31) itself computes something else of numbers out of the ordinary than the operator is to.

Its MaxPool finds the smallest number that there is in a window of -inf alone, and does or does not see a NaN, depending
on where the window stands among the pads. Its GroupNormalization squares what comes in, as onnx's function of it does:
the difference of two infinite means is NaN, where InstanceNormalization has an infinite variance, and gives 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, inliner, numpy_helper

Run = Callable[[ModelProto, list[dict[str, Any]]], list[dict[str, Any]]]


def beyond_kernels(model: ModelProto, feeds: dict[str, Any], run: Run) -> set[str]:
    """The values of the main graph that depend on such a result in it, or in a function that it calls."""
    made, suspects, values = probed(model, ("MaxPool", "GroupNormalization"), feeds, run)
    return _reached(made, {name for node in suspects if _is_odd(node, values) for name in node.output})


def behind_overflow(model: ModelProto, feeds: dict[str, Any], run: Run) -> set[str]:
    """The values of the main graph that depend on the overflow of an Exp, Mul or Div of finite numbers in it.

    What comes of infinity depends on where the overflow stands: log(1 + exp(x)) is infinite for x = 100, Softplus gives
    100; x / 0.5 / 10 is infinite for x = 3e38, x / 5 is not; and 1 / infinity is a finite number again.
    """
    made, suspects, values = probed(model, ("Exp", "Mul", "Div"), feeds, run)
    return _reached(made, {node.output[0] for node in suspects if _overflows(node, values)})


def _reached(made: ModelProto, reached: set[str]) -> set[str]:
    size = 0
    while size != (size := len(reached)):  # nodes may stand in any order
        reached |= {name for node in made.graph.node if reached & _read(node) for name in node.output}
    return reached


def _overflows(node: NodeProto, values: dict[str, Any]) -> bool:
    given, made = [values[name] for name in node.input], values[node.output[0]]
    if made.dtype.kind != "f" or (node.op_type == "Div" and not given[1].all()):
        return False
    return bool(all(np.isfinite(each).all() for each in given) and np.isinf(made).any())


def probed(
    model: ModelProto, ops: Sequence[str], feeds: dict[str, Any], run: Run
) -> tuple[ModelProto, list[NodeProto], dict[str, Any]]:
    """The model with its functions inlined, the nodes of these operators in it, and what these read and make."""
    made = inliner.inline_local_functions(model) if model.functions else model
    nodes = [node for node in made.graph.node if node.op_type in ops]
    tapped = ModelProto.FromString(made.SerializeToString())
    known = {info.name for info in (*tapped.graph.output, *tapped.graph.input)}
    known |= {tensor.name for tensor in tapped.graph.initializer}
    for name in dict.fromkeys(name for node in nodes for name in (*node.input[:2], node.output[0])):
        if name not in known:
            tapped.graph.output.add(name=name)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in tapped.graph.initializer}
    return made, nodes, constants | feeds | run(tapped, [feeds])[0] if nodes else {}


def _is_odd(node: NodeProto, values: dict[str, Any]) -> bool:
    given, made = values[node.input[0]], values[node.output[0]]
    if node.op_type == "MaxPool":
        return bool(np.isnan(given).any() or (made <= np.finfo(made.dtype).min).any())
    with np.errstate(over="ignore"):
        return not bool(np.isfinite(np.square(given)).all())


def _read(node: NodeProto) -> set[str]:
    inner = [inside for attribute in node.attribute for inside in attribute.g.node]
    return set(node.input).union(*map(_read, inner))
