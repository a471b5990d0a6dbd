"""What `fold-shapes` is tried on."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.passes.fold_shapes import FoldShapes
from onnxopt.pipeline.base import Context
from tests.passes.checks import check_pass, parse, run

FOLD, STRICT = FoldShapes(), FoldShapes(empty_inputs=True)
HEADS = """
    s = Shape (h) b = Gather (s, zero) l = Gather (s, one) b1 = Unsqueeze (b, axis) l1 = Unsqueeze (l, axis)
    t = Concat <axis = 0> (b1, l1, minus, size) r = Reshape (h, t) p = Transpose <perm = [0, 2, 1, 3]> (r)
"""
"""The heads of an attention, as torch exports `view(b, l, -1, 4).transpose(1, 2)`."""

INTS = "int64 zero = {0}, int64 one = {1}, int64[1] axis = {0}, int64[1] minus = {-1}, int64[1] size = {4}"


def model(
    body: str, weights: str = INTS, *, inputs: str = "float[n,m,8] x", opset: int = 17, more: str = ""
) -> ir.Graph:
    """A model with the output `y`, and `more` of them."""
    version = 8 if opset > 8 else 3
    return parse(f"""
        <ir_version: {version}, opset_import: ["" : {opset}]>
        g ({inputs}) => (float[a,b,c,d] y{more}) <{weights}> {{ {body} }}
    """)


def ranked(graph: ir.Graph) -> ir.Graph:
    """With as many dimensions declared of each output as it has."""
    for output in graph.outputs:
        output.shape = None
    for output, value in zip(graph.outputs, run(ir.to_proto(graph), feeds(graph, n=2, m=3)).values(), strict=True):
        output.shape = [f"{output.name}_{axis}" for axis in range(value.ndim)]
    return graph


def target(graph: ir.Graph, op: str = "Reshape", index: int = 1) -> list[int] | None:
    """What the one node of an operator is told, where that is a constant."""
    (node,) = (node for scope in ir.every_graph(graph) for node in scope.nodes if node.op == op)
    told = node.inputs[index]
    if told.producer is not None and told.producer.op == "Constant":
        told = told.producer.attrs["value"]
    return told.read().tolist() if isinstance(told, ir.Constant) else None


def feeds(graph: ir.Graph, **sizes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {tensor.name: [sizes.get(dim, dim) for dim in tensor.shape] for tensor in graph.inputs}
    return {
        tensor.name: np.asarray(rng.normal(size=shapes[tensor.name]) * 2).astype(tensor.dtype)
        for tensor in graph.inputs
    }


def check(graph: ir.Graph, *bindings: dict[str, int], pass_: FoldShapes = FOLD) -> Context:
    """Equal outputs at each binding, and never more nodes."""
    before, nodes = ir.to_proto(graph.copy()), sum(1 for _ in ir.every_node(graph))
    ctx = check_pass(pass_, graph, feeds(graph, **(bindings or ({"n": 2, "m": 3},))[0]))
    assert sum(1 for _ in ir.every_node(graph)) <= nodes
    for sizes in bindings or ({"n": 1, "m": 1}, {"n": 3, "m": 5}):
        given = feeds(graph, **sizes)
        one, other = run(before, given), run(ir.to_proto(graph), given)
        for name, value in one.items():
            assert value.shape == other[name].shape and value.tobytes() == other[name].tobytes(), name
    return ctx
