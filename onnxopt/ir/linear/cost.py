"""What convolutions cost, and what the depthwise ones among them would cost if they were dense."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxopt.ir.graph import Graph, every_node
from onnxopt.ir.linear.affine import ARITHMETIC
from onnxopt.ir.linear.geometry import is_depthwise, positions
from onnxopt.ir.linear.match import NoMatch, constant_of
from onnxopt.ir.tensor import Constant


@dataclass
class ConvCosts:
    """Sums over the Convs of a model; MACs are for one run, an unknown batch counted as one sample."""

    macs: int = 0
    """Multiply-accumulates: output positions times elements of the weights."""
    parameters: int = 0
    """Elements of the constants that Convs, BatchNormalizations and arithmetic read, each counted once."""
    depthwise: int = 0
    """How many are depthwise."""
    depthwise_macs: int = 0
    dense_macs: int = 0
    """What the depthwise ones would cost with every input channel read by every output channel."""
    dense_parameters: int = 0
    """Elements of the weights that they would have then."""
    unknown: int = 0
    """Convs whose weights or spatial sizes are not known: not in the MACs."""


def conv_costs(graph: Graph) -> ConvCosts:
    """Add up the Convs of every scope, each once, whatever the number of times its subgraph runs."""
    costs, counted = ConvCosts(), set[Constant]()
    for node in every_node(graph):
        if node.is_op("Conv", "BatchNormalization", *ARITHMETIC):
            counted.update(constant for constant in map(constant_of, node.inputs) if constant is not None)
        if not node.is_op("Conv"):
            continue
        weight = constant_of(node.inputs[1])
        try:
            places = positions(node)
        except NoMatch:
            places = None
        if weight is None or places is None:
            costs.unknown += 1
        macs = 0 if weight is None or places is None else places * math.prod(weight.shape)
        costs.macs += macs
        if weight is not None and is_depthwise(node):
            costs.depthwise += 1
            costs.depthwise_macs += macs
            costs.dense_macs += macs * node.attrs["group"]
            costs.dense_parameters += math.prod(weight.shape) * node.attrs["group"]
    costs.parameters = sum(math.prod(constant.shape) for constant in counted)
    return costs
