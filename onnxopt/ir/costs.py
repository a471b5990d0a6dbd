"""What a model costs: nodes, parameters, bytes, multiply-accumulates, and the memory of its activations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxopt.errors import BadModel
from onnxopt.ir.collector import gc_paused
from onnxopt.ir.graph import Graph, every_node
from onnxopt.ir.inlined import has_calls, inline_functions
from onnxopt.ir.known import known_value
from onnxopt.ir.liveness import peak_bytes
from onnxopt.ir.macs import ShapeOf, node_macs, qualified_op
from onnxopt.ir.node import Node
from onnxopt.ir.sizes import Sizes, bind
from onnxopt.ir.weights import weights

_ENDLESS = 1 << 31
"""Trip counts from here on stand for "until the condition fails"."""
_SCAN_WITHOUT_BATCH = 9
"""Before this opset, Scan ran over every sequence of a batch: its inputs are [batch, length, ...]."""


@dataclass(frozen=True)
class Costs:
    """The costs of one run of a model, for inputs of the shapes that `assumptions` tells."""

    nodes: int
    """Nodes of all graphs and functions; a function body counts once, however often it is called."""
    operators: dict[str, int]
    """Nodes by operator, most frequent first; other domains than ONNX's default one are spelled out."""
    parameters: int
    """Elements of all tensors in the file: initializers, defaults of inputs, tensors in attributes (Constant nodes)."""
    weight_bytes: int
    """Bytes that those take in a file; strings apart."""
    macs: int
    """Multiply-accumulates, as `onnxopt.ir.macs` counts them: a body as often as it is called or looped, and of the
    branches of an If the one with most."""
    macs_by_operator: dict[str, int]
    """The same by operator, largest first."""
    macs_by_node: dict[Node, int] = field(repr=False)
    """The same by node, without those that have none; a node of a function body with all its calls."""
    peak_activation_bytes: int
    """See `onnxopt.ir.liveness.peak_bytes`."""
    uncounted: dict[str, int]
    """Nodes whose MACs are not known and not in the figure, by operator: for want of a shape, or of a formula."""
    unsized: int
    """Values whose bytes are not known and not in the peak: sequences, strings, and those without a shape."""
    assumptions: list[str]
    """What was taken for granted, one line each: sizes of symbols, trip counts."""

    def to_json(self) -> dict[str, Any]:
        """All figures but those by node, since nodes need not have names."""
        return {key: value for key, value in vars(self).items() if key != "macs_by_node"}


@gc_paused()
def costs(graph: Graph, dims: Mapping[str, int] | None = None, *, infer: bool = True) -> Costs:
    """The costs of a main graph; it is left as it is, and no weight is read.

    Args:
        graph: A main graph, with its nodes in order.
        dims: Numbers for symbolic dimensions, and for unnamed ones of inputs as `input[axis]`. Without one, what
            stands on the first axis of an input is 1.
        infer: Infer shapes where the declared ones do not suffice; they are not put into the graph.

    Raises:
        BadOption: `dims` names a dimension that the model does not have, or gives it a negative size.
    """
    operators = Counter(qualified_op(node) for node in every_node(graph))
    held = weights(graph)
    bound, assumptions = bind(graph, dims or {})
    run, origin = graph, dict[Node, Node]()
    if has_calls(graph):
        try:
            run, origin = inline_functions(graph)
        except BadModel as error:
            assumptions.append(f"functions are not counted: {error}")
    sizes = Sizes(run, bound)
    if infer and not sizes.suffice():
        try:
            sizes.infer()
        except BadModel as error:
            assumptions.append(f"shapes are as declared: {error}")
    tally = _Tally.of(run, sizes.shape)
    by_node: Counter[Node] = Counter()
    for node, macs in tally.by_node.items():
        by_node[origin.get(node, node)] += macs
    by_operator: Counter[str] = Counter()
    for node, macs in by_node.items():
        by_operator[qualified_op(node)] += macs
    return Costs(
        nodes=operators.total(),
        operators=dict(operators.most_common()),
        parameters=sum(math.prod(constant.shape) for constant in held),
        weight_bytes=sum(constant.nbytes for constant in held),
        macs=by_node.total(),
        macs_by_operator=dict(by_operator.most_common()),
        macs_by_node=dict(by_node),
        peak_activation_bytes=peak_bytes(run, lambda tensor: sizes.bytes(tensor) or 0),
        uncounted=dict(tally.uncounted.most_common()),
        unsized=sum(sizes.bytes(tensor) is None for tensor in sizes.activations()),
        assumptions=assumptions + tally.assumptions,
    )


@dataclass
class _Tally:
    """The MACs of one scope, with all that is inside."""

    by_node: Counter[Node] = field(default_factory=Counter)
    uncounted: Counter[str] = field(default_factory=Counter)
    assumptions: list[str] = field(default_factory=list)

    @staticmethod
    def of(graph: Graph, shape_of: ShapeOf) -> _Tally:
        tally = _Tally()
        for node in graph.nodes:
            macs = node_macs(node, shape_of)
            if macs is None:
                tally.uncounted[qualified_op(node)] += 1
            elif macs:
                tally.by_node[node] = macs
            if node.attrs:
                bodies = [_Tally.of(body, shape_of) for body in node.subgraphs()]
                if bodies:
                    tally._enter(node, bodies, _trips(node, graph, shape_of))
        return tally

    def _enter(self, node: Node, bodies: list[_Tally], trips: int | None) -> None:
        """Add what the bodies of a node cost."""
        for body in bodies:
            self.uncounted += body.uncounted
        largest = max(bodies, key=lambda body: body.by_node.total())
        self.assumptions += largest.assumptions
        if largest.by_node and not node.is_op("If"):
            times = "once" if trips is None else f"{trips} times"
            self.assumptions.append(f"the body of {node.op} '{node.name or node.outputs[0].name}' runs {times}")
        for inner, macs in largest.by_node.items():
            self.by_node[inner] += macs * (1 if trips is None else trips)


def _trips(node: Node, graph: Graph, shape_of: ShapeOf) -> int | None:
    """How often a body runs; a Loop with a condition, at most. None where that depends on the data."""
    if node.is_op("Loop"):
        count = known_value(node.inputs[0], 1) if node.inputs and node.inputs[0].name else None
        return (
            max(int(count.reshape(-1)[0]), 0) if count is not None and count.size and count.max() < _ENDLESS else None
        )
    if not node.is_op("Scan"):
        return None
    scanned = int(node.attr("num_scan_inputs", 0))
    shape = shape_of(node.inputs[len(node.inputs) - scanned]) if 0 < scanned <= len(node.inputs) else None
    if graph.opset < _SCAN_WITHOUT_BATCH:
        return math.prod(shape[:2]) if shape else None
    axis = (node.attr("scan_input_axes") or [0])[0]
    return shape[axis] if shape and -len(shape) <= axis < len(shape) else None
