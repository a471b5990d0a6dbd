"""Attention: the query, key, value and output weights of a head go together; the number of heads is written anew."""

from __future__ import annotations

import pytest

from onnxopt import ir
from onnxopt.ir.known import known_value
from tests.pruning.channel_models import model
from tests.pruning.zeroed import check_pruning, structure_of

TOKENS = {"x": "float[N, 7, 16]", "y": "float[N, 7, 16]"}
APART = """let int64[4] split = [0, 0, 4, 4] let int64[3] merge = [0, 0, 16]
    q = MatMul (x, wq) k = MatMul (x, wk) v = MatMul (x, wv)
    q4 = Reshape (q, split) k4 = Reshape (k, split) v4 = Reshape (v, split)
    qt = Transpose <perm = [0, 2, 1, 3]> (q4) kt = Transpose <perm = [0, 2, 3, 1]> (k4)
    vt = Transpose <perm = [0, 2, 1, 3]> (v4)
    s = MatMul (qt, kt) p = Softmax <axis = -1> (s) o = MatMul (p, vt)
    ot = Transpose <perm = [0, 2, 1, 3]> (o) om = Reshape (ot, merge) y = MatMul (om, wo)"""
TOGETHER = """let int64[5] split = [0, 7, 3, 4, 4] let int64[3] merge = [-1, 7, 16]
    let int64[1] zero = [0] let int64[1] one = [1] let int64[1] two = [2] let int64[1] at = [0]
    z = MatMul (x, wz) z5 = Reshape (z, split) zt = Transpose <perm = [2, 0, 3, 1, 4]> (z5)
    q, k, v = Split <axis = 0, num_outputs = 3> (zt)
    qs = Squeeze (q, at) ks = Squeeze (k, at) vs = Squeeze (v, at)
    kt = Transpose <perm = [0, 1, 3, 2]> (ks) s = MatMul (qs, kt) p = Softmax <axis = -1> (s) o = MatMul (p, vs)
    ot = Transpose <perm = [0, 2, 1, 3]> (o) om = Reshape (ot, merge) y = MatMul (om, wo)"""
WEIGHTS = "wq 16 16; wk 16 16; wv 16 16; wo 16 16"


@pytest.mark.parametrize(
    ("weights", "body"), [(WEIGHTS, APART), ("wz 16 48; wo 16 16", TOGETHER)], ids=["apart", "together"]
)
def test_heads(weights: str, body: str) -> None:
    graph = model(weights, body, **TOKENS)
    (group,) = structure_of(graph).groups
    assert group.units == 4
    found = check_pruning(graph, 0.5)
    assert all(constant.shape[0 if name == "wo" else 1] in (8, 24) for name, constant in _weights(found).items())


def test_the_number_of_heads_in_a_computed_shape() -> None:
    body = APART.replace("let int64[4] split = [0, 0, 4, 4]", "").replace("let int64[3] merge = [0, 0, 16]", "")
    sizes = """let int64[1] four = [4] let int64[1] sixteen = [16]
        sizes = Shape <start = 0, end = 2> (x)
        split = Concat <axis = 0> (sizes, four, four) merge = Concat <axis = 0> (sizes, sixteen)"""
    graph = model(WEIGHTS, sizes + body, **TOKENS)
    assert [group.units for group in structure_of(graph).groups] == [4]
    found = check_pruning(graph, 0.5)
    made = [node for node in found.nodes if node.is_op("Concat")]
    values = [[known_value(tensor).tolist() for tensor in node.inputs[1:]] for node in made]  # type: ignore[union-attr]
    assert sorted(values) == [[[2], [4]]] * 3 + [[[8]]]


def test_a_size_that_is_computed_keeps_the_heads() -> None:
    body = APART.replace("let int64[3] merge = [0, 0, 16]", "merge = Shape (x)")
    structure = structure_of(model(WEIGHTS, body, **TOKENS))
    (group,) = structure.groups  # of each head the same numbers of the queries and the keys, which are summed over
    assert {use.node.outputs[0].name for use in group.makers} == {"q", "k"} and group.units == 4
    assert [node.outputs[0].name for node, _ in structure.refused] == ["v", "y"]


def _weights(graph: ir.Graph) -> dict[str, ir.Constant]:
    return {
        tensor.name: tensor
        for node in graph.nodes
        for tensor in node.inputs
        if isinstance(tensor, ir.Constant) and tensor.name.startswith("w")
    }
