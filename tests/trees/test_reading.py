"""Ensembles from strangers: whatever the attributes say, they are left alone with a reason, and nothing loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxopt import ir
from onnxopt.ir.tensor import Constant
from onnxopt.passes.compact_trees import CompactTrees
from onnxopt.trees.forest import Malformed
from onnxopt.trees.reading import read_older
from onnxopt.trees.reading_newer import read_newer
from onnxopt.trees.simplifying import simplify
from onnxopt.trees.writing import write_older
from onnxopt.trees.writing_newer import write_newer
from tests.passes.checks import run_pass
from tests.trees.models import LEAF, LEQ, classifier, nodes, regressor, votes

REGRESSOR, CLASSIFIER = "TreeEnsembleRegressor", "TreeEnsembleClassifier"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nodes_modes": [LEQ]}, "'nodes_modes' has 1 elements instead of 3"),
        ({"nodes_modes": ["BRANCH_SOMEHOW", LEAF, LEAF]}, "'nodes_modes' has 'BRANCH_SOMEHOW'"),
        ({"nodes_truenodeids": [7, 0, 0]}, "tree 0 has no node 7"),
        ({"nodes_truenodeids": [0, 0, 0]}, "a cycle"),
        ({"nodes_truenodeids": [-1, 0, 0]}, "no index"),
        ({"nodes_truenodeids": [2**40, 0, 0]}, "no index"),
        ({"nodes_truenodeids": [2, 0, 0]}, "no path leads to"),
        ({"nodes_nodeids": [0, 1, 1]}, "the same id"),
        ({"nodes_treeids": [0, 1, 0]}, "do not stand together"),
        ({"nodes_featureids": [0.5, 0.0, 0.0]}, "'nodes_featureids' is of another type"),
        ({"nodes_values": "text"}, "'nodes_values' is of another type"),
        ({"nodes_values_as_tensor": Constant("", np.zeros((3, 1)))}, "dimensions"),
        ({"nodes_values_as_tensor": Constant("", np.zeros(3))}, "as a list and as a tensor"),
        ({"nodes_missing_value_tracks_true": [2, 0, 0]}, "neither 0 nor 1"),
        ({"target_ids": [0, 1]}, "for target 1 of 1"),
        ({"target_nodeids": [0, 2]}, "which is no leaf"),
        ({"target_nodeids": [1, 1]}, "two weights for target 0"),
        ({"target_weights": [1.0]}, "elements instead of 1"),
        ({"n_targets": 0}, "no targets"),
        ({"base_values": [1.0, 2.0]}, "2 base values for 1 targets"),
        ({"aggregate_function": "MEDIAN"}, "'aggregate_function' is 'MEDIAN'"),
    ],
)
def test_malformed(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        read_older(REGRESSOR, {**regressor(1), **change})


def test_leaf_without_weight_but_with_a_value() -> None:
    attrs = {**regressor(1), "target_ids": [0], "target_nodeids": [1], "target_treeids": [0], "target_weights": [1.0]}
    assert read_older(REGRESSOR, attrs)
    with pytest.raises(Malformed, match="takes for its weight"):
        read_older(REGRESSOR, {**attrs, "nodes_values": [1.0, 0.0, 7.0]})


def newer(**change: Any) -> dict[str, Any]:
    found = write_newer(read_older(REGRESSOR, regressor(2)), np.float32)
    return {**found, **change}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nodes_truenodeids": [0, 9], "nodes_trueleafs": [0, 0]}, "no node 9"),
        ({"nodes_truenodeids": [1, 0], "nodes_trueleafs": [0, 0]}, "a cycle"),
        ({"nodes_truenodeids": [99, 0]}, "no leaf 99"),
        ({"nodes_modes": Constant("", np.array([0, 7], np.uint8))}, "unknown number"),
        ({"nodes_modes": Constant("", np.array([0, 6], np.uint8))}, "'membership_values' is missing"),
        ({"nodes_splits": Constant("", np.zeros(2))}, "different types"),
        ({"tree_roots": [5]}, "no node 5"),
        ({"tree_roots": []}, "no trees"),
        ({"leaf_targetids": [3, 0, 0, 0]}, "elements instead of|for target 3 of 1"),
        ({"post_transform": 9}, "none of the known"),
    ],
)
def test_malformed_newer(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        read_newer(newer(**change))


def test_a_leaf_that_is_a_tree_and_not_the_leaf_that_onnxruntime_takes() -> None:
    change = {side: [1, 1] for side in ("nodes_truenodeids", "nodes_falsenodeids")}
    with pytest.raises(Malformed, match="onnxruntime takes leaf 0"):
        read_newer(newer(**change, tree_roots=[0]))


def test_reason_is_told_and_the_model_left() -> None:
    node = ir.Node(REGRESSOR, "trees", {**regressor(1), "nodes_truenodeids": [0, 0, 0]}, domain="ai.onnx.ml")
    node.inputs.append(ir.Variable("x", np.float32))
    node.outputs.append(ir.Variable("y", np.float32))
    graph = ir.Graph([node], [node.inputs[0]], [node.outputs[0]])
    changed, ctx = run_pass(CompactTrees(), graph)
    assert not changed
    assert [refusal.what for refusal in ctx.refusals] == ["it has a cycle"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_is_changed(data: st.DataObject) -> None:
    """One attribute torn: read, or refused."""
    op = data.draw(st.sampled_from([REGRESSOR, CLASSIFIER]))
    attrs = dict(regressor(2) if op == REGRESSOR else classifier(2))
    name = data.draw(st.sampled_from(sorted(attrs)))
    attrs[name] = data.draw(
        st.one_of(st.lists(st.integers(-2, 9), max_size=7), st.text(max_size=3), st.floats(), st.none())
    )
    try:
        read = read_older(op, attrs)
    except Malformed:
        return
    write_older(op, simplify(read, is_dense=False), attrs)


def chain(depth: int, threshold: float = 1.0) -> dict[str, Any]:
    """A tree whose false branches are leaves, and whose true branches go on and on."""
    rows = [(0, 2 * level, LEQ, level % 3, threshold - level, 2 * level + 2, 2 * level + 1) for level in range(depth)]
    leaves = [(0, 2 * level + 1, LEAF, 0, 0.0, 0, 0) for level in range(depth)]
    cast = [(0, 2 * level + 1, 0, float(level)) for level in range(depth)]
    last = (0, 2 * depth, LEAF, 0, 0.0, 0, 0)
    ordered = [row for pair in zip(rows, leaves, strict=True) for row in pair]
    return {**nodes(*ordered, last), **votes("target", *cast, (0, 2 * depth, 0, -1.0)), "n_targets": 1}


def test_a_chain_of_ten_thousand_nodes() -> None:
    read = read_older(REGRESSOR, chain(10_000))
    assert read.nodes() == 20_001
    simple = simplify(read, is_dense=False)
    assert len(write_newer(simple, np.float32)["nodes_featureids"]) == 10_000
    assert len(write_older(REGRESSOR, simple, chain(1))["nodes_modes"]) == 20_001


def test_shared_subtrees_without_end() -> None:
    """Forty splits, each with both branches to the next: 2**40 paths, which nobody walks."""
    count = 40
    attrs = {
        "n_targets": 1, "tree_roots": [0],
        "leaf_targetids": [0, 0], "leaf_weights": Constant("", np.array([1, 2], np.float32)),
        "nodes_featureids": list(range(count)), "nodes_modes": Constant("", np.zeros(count, np.uint8)),
        "nodes_splits": Constant("", np.zeros(count, np.float32)),
        "nodes_truenodeids": [*range(1, count), 0], "nodes_falsenodeids": [*range(1, count), 1],
        "nodes_trueleafs": [0] * (count - 1) + [1], "nodes_falseleafs": [0] * (count - 1) + [1],
    }  # fmt: skip
    read = read_newer(attrs)
    assert read.nodes() > 2**40
    assert simplify(read, is_dense=False) is read
    node = ir.Node("TreeEnsemble", "trees", attrs, [ir.Variable("x", np.float32)], [ir.Variable("y")], "ai.onnx.ml")
    graph = ir.Graph([node], [node.inputs[0]], [node.outputs[0]])
    changed, ctx = run_pass(CompactTrees(), graph)
    assert not changed and "when nothing is shared" in ctx.refusals[0].what
