"""By how much the outputs of a model move where every intermediate result is off by some roundings.

`onnxopt.runtime.compare` measures a difference against the largest number of the output. That is too strict where an
output is what is left of large terms that cancel, or where a threshold lies between two values that are one rounding
apart. So where it complains, the original model is asked: every floating-point result in it is multiplied by a number
within a few roundings of 1, several times over, and what its own outputs then do, an optimized model may do as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper, inliner, numpy_helper, shape_inference

_EPS: dict[int, float] = {TensorProto.FLOAT: 2.0**-23, TensorProto.DOUBLE: 2.0**-52, TensorProto.FLOAT16: 2.0**-10}
TRIALS = 12
"""Of noise from 4 roundings to about a hundred."""
SLACK = 4.0
"""How many times as far as any trial an output may move."""


def noisy(model: ModelProto, trial: int) -> ModelProto:
    """The model with noise after every node that gives floating-point numbers, in every scope."""
    made = ModelProto.FromString(model.SerializeToString())
    made = inliner.inline_local_functions(made) if made.functions else made
    try:
        types = shape_inference.infer_shapes(made)
    except Exception:  # noqa: BLE001  what onnx's inference refuses is run all the same
        types = made
    _disturb(made.graph, types.graph, np.random.default_rng(trial), 4.0 * 1.35**trial)
    return made


def _disturb(graph: GraphProto, typed: GraphProto, numbers: np.random.Generator, roundings: float) -> None:
    kinds = {v.name: v.type.tensor_type.elem_type for v in [*typed.value_info, *typed.output, *typed.input]}
    nodes, typed_nodes = list(graph.node), {tuple(node.output): node for node in typed.node}
    del graph.node[:]
    for node in nodes:
        twin = typed_nodes.get(tuple(node.output), node)
        for attribute, other in zip(node.attribute, twin.attribute, strict=True):
            if attribute.HasField("g"):
                _disturb(attribute.g, other.g, numbers, roundings)
        exact = []
        for index, name in enumerate(node.output):
            eps = _EPS.get(kinds.get(name, 0))
            if name and eps and node.op_type != "Constant":
                node.output[index] = f"{name}__exact"
                factor = np.asarray(1 + roundings * eps * numbers.uniform(-1, 1))
                factor = factor.astype(helper.tensor_dtype_to_np_dtype(kinds[name]))
                exact.append(_times(f"{name}__exact", factor, name))
        graph.node.append(node)
        for pair in exact:
            graph.node.extend(pair)


def _times(source: str, factor: Any, name: str) -> list[onnx.NodeProto]:
    constant = helper.make_node("Constant", [], [f"{name}__noise"], value=numpy_helper.from_array(factor))
    return [constant, helper.make_node("Mul", [source, f"{name}__noise"], [name])]


def excused(expected: Any, found: Any, moved: list[Any], *, may_be_finite: bool = False) -> bool:
    """Whether, at every element, the found values are within what noise does to the expected ones.

    With `may_be_finite`, a number may stand where the expected value is none: operators that passes recognise do not
    overflow where log(1 + exp(x)) does, and say so.
    """
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return False
    if expected.dtype.kind != "f":
        return bool(np.all((found == expected) | np.any([m != expected for m in moved], axis=0)))
    one, other = expected.astype(np.float64), found.astype(np.float64)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    finite = np.isfinite(one) & np.isfinite(other)
    avoided = ~np.isfinite(one) & np.isfinite(other) & may_be_finite
    jumps = np.any([_kind(m) != _kind(one) for m in moved], axis=0)
    with np.errstate(all="ignore"):
        reach = np.max([np.nan_to_num(np.abs(m.astype(np.float64) - one), nan=0.0) for m in moved], axis=0)
        near = np.abs(one - other) <= SLACK * reach
    return bool(np.all(same | avoided | jumps | (finite & near)))


def _kind(numbers: Any) -> Any:
    """Of each, whether it is finite, NaN, or infinite, and with which sign: 0 / 0 is told from -0.1 / 0 by rounding."""
    return np.where(np.isfinite(numbers), 0, np.where(np.isnan(numbers), 2, np.sign(numbers)))
