"""What convolutions cost, and what the depthwise ones among them would cost if they were dense."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxopt.ir.costs import costs
from onnxopt.ir.graph import Graph, every_node
from onnxopt.ir.tensor import Constant
from onnxopt.linear.affine import ARITHMETIC
from onnxopt.linear.geometry import is_depthwise
from onnxopt.linear.match import constant_of


@dataclass(frozen=True)
class ConvCosts:
    """Sums over the Convs of a model; MACs are those of one run, as `ir.costs` counts them."""

    macs: int
    """Multiply-accumulates of all Convs."""
    parameters: int
    """Elements of the constants that Convs, BatchNormalizations and arithmetic read, each counted once."""
    depthwise: int
    """How many are depthwise."""
    depthwise_macs: int
    dense_macs: int
    """What the depthwise ones would cost with every input channel read by every output channel."""
    dense_parameters: int
    """Elements of the weights that they would have then."""
    uncounted: int
    """Convs whose sizes are not known: not in the MACs."""


def conv_costs(graph: Graph) -> ConvCosts:
    """Add up the Convs of every scope of a main graph. Infers shapes where it has to, if there is any."""
    convs, counted = [], set[Constant]()
    for node in every_node(graph):
        if node.is_op("Conv", "BatchNormalization", *ARITHMETIC):
            counted.update(constant for constant in map(constant_of, node.inputs) if constant is not None)
        if node.is_op("Conv"):
            convs.append(node)
    parameters = sum(math.prod(constant.shape) for constant in counted)
    if not convs:
        return ConvCosts(0, parameters, 0, 0, 0, 0, 0)
    whole = costs(graph)
    depthwise = [node for node in convs if is_depthwise(node)]
    weights = {node: constant for node in depthwise if (constant := constant_of(node.inputs[1])) is not None}
    macs = {node: whole.macs_by_node.get(node, 0) for node in depthwise}
    return ConvCosts(
        macs=whole.macs_by_operator.get("Conv", 0),
        parameters=parameters,
        depthwise=len(depthwise),
        depthwise_macs=sum(macs.values()),
        dense_macs=sum(count * node.attrs["group"] for node, count in macs.items()),
        dense_parameters=sum(math.prod(weight.shape) * node.attrs["group"] for node, weight in weights.items()),
        uncounted=whole.uncounted.get("Conv", 0),
    )
