"""`compact-trees`: ensembles of decision trees in fewer bytes, and the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test.loader
import pytest
from onnx import TensorProto, helper

from onnxopt import ir
from onnxopt.data import inputs_of
from onnxopt.data.dataset import data_set
from onnxopt.passes.compact_trees import CompactTrees
from onnxopt.pipeline.base import Preserves
from tests.conformance import model_of
from tests.passes.checks import check_golden, check_pass, run, run_pass
from tests.trees.agreement import assert_same, compacted
from tests.trees.models import (
    LEAF,
    LEQ,
    STUMP,
    X,
    attributes,
    binary,
    classifier,
    graph_of,
    nodes,
    regressor,
    votes,
)
from tests.trees.random_ensembles import ML, model

FIXTURES = Path(__file__).parents[2] / "fixtures" / "trees"
COMPACT, SAME = CompactTrees(), CompactTrees(encoding="same")
CLASSIFIER, REGRESSOR, NEWER = "TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble"


def ops(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def refusals(graph: ir.Graph, pass_: CompactTrees = COMPACT) -> list[str]:
    return [refusal.what for refusal in run_pass(pass_, graph)[1].refusals]


def test_golden_regressor() -> None:
    check_golden(COMPACT, graph_of(REGRESSOR, regressor(base_values=[10.0])), "a regressor with a base value")


def test_golden_classifier() -> None:
    check_golden(COMPACT, graph_of(CLASSIFIER, classifier()), "a classifier")
    check_golden(SAME, graph_of(CLASSIFIER, classifier()), "a classifier in its own operator")


@pytest.mark.parametrize(("name", "rows", "most"), [("iris_forest", 4, 0.15), ("diabetes_boosting", 10, 0.32)])
def test_trained_ensembles(name: str, rows: int, most: float) -> None:
    before = onnx.load(FIXTURES / f"{name}.onnx")
    low, high = (0, 8) if name == "iris_forest" else (-0.2, 0.2)
    x = np.random.default_rng(0).uniform(low, high, (5000, rows)).astype(np.float32)
    after = compacted(before)
    assert after.ByteSize() < most * before.ByteSize()
    assert_same(before, after, {before.graph.input[0].name: x})


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        (classifier(), [NEWER, "ArgMax"]),
        (classifier(classlabels_int64s=[3, 1, 2]), [NEWER, "LinearClassifier"]),
        (classifier(base_values=[0.1, 0.2, 0.3]), [NEWER, "LinearClassifier"]),
        (classifier(post_transform="SOFTMAX"), [NEWER, "LinearClassifier"]),
        (binary(), [NEWER, "LinearClassifier", "ArgMax"]),
        (binary(base_values=[-0.5]), [NEWER, "LinearClassifier", "ArgMax"]),
        (binary(classlabels_int64s=[7, 9]), [NEWER, "LinearClassifier", "ArgMax", "Gather"]),
        (binary(class_weights=[-1.0, 1.0] * 4, post_transform="LOGISTIC"), [NEWER, "LinearClassifier"]),
    ],
)
def test_classifiers(attrs: dict[str, Any], expected: list[str]) -> None:
    before = model(CLASSIFIER, _more_trees(attrs, 40))
    after = compacted(before)
    assert ops(after) == expected
    assert_same(before, after, X)


def _more_trees(attrs: dict[str, Any], times: int) -> dict[str, Any]:
    """The same trees over and over: what follows the TreeEnsemble has to pay."""
    found = dict(attrs)
    trees = max(attrs["nodes_treeids"]) + 1
    for name, value in attrs.items():
        if name.startswith(("nodes_", "class_")):
            step = trees if name.endswith("treeids") else 0
            found[name] = [item + step * copy if step else item for copy in range(times) for item in value]
    return found


def test_string_labels() -> None:
    attrs = _more_trees(classifier(), 20)
    del attrs["classlabels_int64s"]
    before = model(CLASSIFIER, {**attrs, "classlabels_strings": ["a", "b", "c"]}, labels=TensorProto.STRING)
    after = compacted(before)
    assert ops(after) == [NEWER, "LinearClassifier"]
    assert_same(before, after, X)


def test_equal_trees_stand_once() -> None:
    rows = [(tree, *row) for tree in range(50) for row in STUMP]
    cast = [(tree, leaf, 0, float(leaf)) for tree in range(50) for leaf in (1, 2)]
    before = model(REGRESSOR, {**nodes(*rows), **votes("target", *cast), "n_targets": 1})
    after = compacted(before)
    found = attributes(after, NEWER)
    assert found["tree_roots"] == [0] * 50
    assert len(found["nodes_featureids"]) == 1
    assert_same(before, after, X)


def test_splits_that_decide_nothing_go() -> None:
    rows = [
        (0, 0, LEQ, 0, 1.0, 1, 2), (0, 1, LEQ, 0, 2.0, 3, 4), (0, 2, LEQ, 1, 0.0, 5, 6), (0, 3, LEAF, 0, 0.0, 0, 0),
        (0, 4, LEAF, 0, 0.0, 0, 0), (0, 5, LEAF, 0, 0.0, 0, 0), (0, 6, LEAF, 0, 0.0, 0, 0),
    ]  # fmt: skip
    before = model(
        REGRESSOR,
        {**nodes(*rows), **votes("target", *((0, leaf, 0, min(leaf, 5.0)) for leaf in (3, 4, 5, 6))), "n_targets": 1},
    )
    after = compacted(before, SAME)
    assert attributes(after, REGRESSOR)["nodes_modes"] == [b"BRANCH_LEQ", b"LEAF", b"LEAF"]
    assert_same(before, after, X)


def test_a_split_stays_where_missing_values_go_the_other_way() -> None:
    rows = [
        (0, 0, LEQ, 0, 1.0, 1, 2), (0, 1, LEQ, 0, 2.0, 3, 4), (0, 2, LEAF, 0, 0.0, 0, 0), (0, 3, LEAF, 0, 0.0, 0, 0),
        (0, 4, LEAF, 0, 0.0, 0, 0),
    ]  # fmt: skip
    attrs = {**nodes(*rows), **votes("target", (0, 2, 0, 1.0), (0, 3, 0, 2.0), (0, 4, 0, 3.0)), "n_targets": 1}
    attrs["nodes_missing_value_tracks_true"] = [1, 0, 0, 0, 0]
    before = model(REGRESSOR, attrs)
    after = compacted(before)
    assert len(attributes(after, NEWER)["nodes_featureids"]) == 2
    assert_same(before, after, X)


def test_features_between_two_thresholds() -> None:
    """Float64 features lie between float32 thresholds that are next to each other."""
    near = float(np.nextafter(np.float32(1), np.float32(2)))
    rows = [
        (0, 0, LEQ, 0, 1.0, 1, 2), (0, 1, LEAF, 0, 0.0, 0, 0), (0, 2, "BRANCH_LT", 0, near, 3, 4),
        (0, 3, LEAF, 0, 0.0, 0, 0), (0, 4, LEAF, 0, 0.0, 0, 0),
    ]  # fmt: skip
    attrs = {**nodes(*rows), **votes("target", (0, 1, 0, 1.0), (0, 3, 0, 2.0), (0, 4, 0, 3.0)), "n_targets": 1}
    x = np.array([[1, 0, 0], [(1 + near) / 2, 0, 0], [near, 0, 0]])
    double, single = (model(REGRESSOR, attrs, dtype=dtype) for dtype in (np.float64, np.float32))
    assert_same(double, compacted(double, SAME), {"x": x})
    assert len(attributes(compacted(double, SAME), REGRESSOR)["nodes_modes"]) == 5
    assert len(attributes(compacted(single, SAME), REGRESSOR)["nodes_modes"]) == 3


def test_zero_votes_stay_where_they_are_a_vote() -> None:
    """Of negative scores the class that got no vote at all is not the largest."""
    cast = [(0, 1, 0, -1.0), (0, 1, 1, 0.0), (0, 2, 2, -1.0), (0, 2, 1, -2.0)]
    attrs = {**nodes(*((0, *row) for row in STUMP)), **votes("class", *cast), "classlabels_int64s": [0, 1, 2]}
    before = model(CLASSIFIER, attrs)
    after = compacted(before)
    assert_same(before, after, X)
    assert 0.0 in attributes(after, CLASSIFIER)["class_weights"]


def test_in_a_body_and_with_other_ensembles() -> None:
    """All ensembles that share the opset change together."""
    graph = helper.make_graph(
        [helper.make_node(REGRESSOR, ["x"], ["z"], "inner", domain=ML, **regressor(9))],
        "then", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 1])],
    )  # fmt: skip
    branch = helper.make_node("If", ["c"], ["w"], then_branch=graph, else_branch=graph)
    info = helper.make_tensor_value_info
    scaler = helper.make_node("Scaler", ["x"], ["s"], domain=ML, offset=[0.5], scale=[2.0])
    outer = helper.make_node(CLASSIFIER, ["s"], ["label", "y"], "outer", domain=ML, **_more_trees(classifier(), 9))
    inputs = [info("x", TensorProto.FLOAT, ["n", 3]), info("c", TensorProto.BOOL, [])]
    outputs = [
        info("label", TensorProto.INT64, ["n"]),
        info("y", TensorProto.FLOAT, ["n", 3]),
        info("w", TensorProto.FLOAT, ["n", 1]),
    ]
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(ML, 3)]
    before = helper.make_model(
        helper.make_graph([scaler, outer, branch], "g", inputs, outputs), opset_imports=imports, ir_version=8
    )
    unchanged = before.SerializeToString()
    after = compacted(before)
    assert before.SerializeToString() == unchanged
    assert {(entry.domain, entry.version) for entry in after.opset_import} == {("", 18), (ML, 5)}
    assert after.ir_version == 10
    assert ops(after) == ["Scaler", NEWER, "ArgMax", "If"]
    assert after.graph.node[-1].attribute[0].g.node[0].op_type == NEWER
    for chosen in (True, False):
        assert_same(before, after, {**X, "c": np.array(chosen)})


def test_types_are_declared_for_onnx() -> None:
    """onnx infers no type of what a Scaler gives, and ends the process at a LinearClassifier without one."""
    attrs = _more_trees(classifier(post_transform="SOFTMAX"), 9)
    before = model(CLASSIFIER, attrs)
    scaler = helper.make_node("Scaler", ["x"], ["scaled"], domain=ML, offset=[0.5], scale=[2.0])
    before.graph.node.insert(0, scaler)
    before.graph.node[1].input[0] = "scaled"
    after = compacted(before)
    assert ops(after) == ["Scaler", NEWER, "LinearClassifier"]
    assert {info.name: info.type.tensor_type.elem_type for info in after.graph.value_info} == {
        "scaled": TensorProto.FLOAT,
        "label_raw": TensorProto.FLOAT,
    }
    assert_same(before, after, X)


def test_one_that_cannot_keeps_the_opset() -> None:
    info, imports = helper.make_tensor_value_info, [helper.make_opsetid("", 18), helper.make_opsetid(ML, 3)]
    impure = {**classifier(), "class_weights": [0.25] * 24}
    made = [
        helper.make_node(CLASSIFIER, ["x"], ["label", "y"], "impure", domain=ML, **impure),
        helper.make_node(REGRESSOR, ["x"], ["z"], "other", domain=ML, **regressor(9)),
    ]
    outputs = [
        info("label", TensorProto.INT64, ["n"]),
        info("y", TensorProto.FLOAT, ["n", 3]),
        info("z", TensorProto.FLOAT, ["n", 1]),
    ]
    graph = helper.make_graph(made, "g", [info("x", TensorProto.FLOAT, ["n", 3])], outputs)
    before = helper.make_model(graph, opset_imports=imports, ir_version=8)
    after = compacted(before)
    assert ops(after) == [CLASSIFIER, REGRESSOR] and after.opset_import[1].version == 3
    assert_same(before, after, X)
    assert any("no version of ai.onnx.ml has both" in reason for reason in refusals(ir.from_proto(before)))


def test_a_function_stays_as_it_is() -> None:
    made = helper.make_function(
        "local",
        "f",
        ["x"],
        ["y"],
        [helper.make_node(REGRESSOR, ["x"], ["y"], domain=ML, **regressor())],
        [helper.make_opsetid(ML, 3)],
    )
    info, imports = helper.make_tensor_value_info, [("", 18), (ML, 3), ("local", 1)]
    graph = helper.make_graph(
        [helper.make_node("f", ["x"], ["y"], domain="local")],
        "g",
        [info("x", TensorProto.FLOAT, ["n", 3])],
        [info("y", TensorProto.FLOAT, ["n", 1])],
    )
    before = helper.make_model(
        graph, functions=[made], opset_imports=[helper.make_opsetid(*one) for one in imports], ir_version=8
    )
    after = compacted(before)
    assert after.functions[0].node[0].op_type == REGRESSOR
    assert len(after.functions[0].node[0].attribute) < len(before.functions[0].node[0].attribute)
    assert_same(before, after, X)


@pytest.mark.parametrize("target", ["qnn", "tensorrt", "coreml"])
def test_other_targets_keep_the_operator(target: str) -> None:
    graph = graph_of(REGRESSOR, regressor())
    assert run_pass(COMPACT, graph, target=target)[0]
    assert [node.op for node in graph.nodes] == [REGRESSOR]


def test_limit_and_an_unread_label() -> None:
    graph = graph_of(CLASSIFIER, _more_trees(classifier(), 9))
    assert not run_pass(COMPACT, graph, limit=0)[0]
    graph.outputs = [output for output in graph.outputs if output.name != "label"]
    graph.nodes[0].outputs[0].name = ""
    assert run_pass(COMPACT, graph)[0]
    assert [node.op for node in graph.nodes] == [NEWER]


def test_refusals() -> None:
    assert any("bytes instead of" in reason for reason in refusals(graph_of(CLASSIFIER, binary(1))))
    assert any("input is int64" in reason for reason in refusals(graph_of(CLASSIFIER, classifier(), dtype=np.int64)))
    assert any("votes for both" in reason for reason in refusals(graph_of(CLASSIFIER, classifier(classes=2))))
    assert any("LOGISTIC" in reason for reason in refusals(graph_of(REGRESSOR, regressor(post_transform="LOGISTIC"))))
    torn = graph_of(REGRESSOR, {**regressor(), "nodes_featureids": [0]})
    assert refusals(torn) == ["'nodes_featureids' has 1 elements instead of 9"]


@pytest.mark.slow  # the package makes the models of all operators
def test_conformance_models() -> None:
    """The ensembles of the onnx package."""
    cases = [case for case in onnx.backend.test.loader.load_model_tests(kind="node") if "tree_ensemble" in case.name]
    assert cases
    for case in cases:
        before = model_of(case)
        ((inputs, _), *_) = case.data_sets or ()
        feeds = {info.name: np.asarray(value) for info, value in zip(before.graph.input, inputs, strict=True)}
        assert_same(before, compacted(before), feeds)


def test_check_pass() -> None:
    """What every pass is held to."""
    check_pass(COMPACT, graph_of(REGRESSOR, regressor(7, base_values=[1.5])), X)
    check_pass(SAME, graph_of(REGRESSOR, regressor(7, base_values=[1.5])), X)


@pytest.mark.parametrize("with_data", [True, False])
def test_fewer_trees(with_data: bool) -> None:
    """Approximate, and said to be: the trees that remain are scaled, and what the others said on average is added."""
    few = CompactTrees(max_trees=15)
    assert few.preserves is Preserves.ACCURACY and COMPACT.preserves is Preserves.VALUES
    before = onnx.load(FIXTURES / "diabetes_boosting.onnx")
    rng = np.random.default_rng(0)
    calibration, x = (rng.normal(0, 0.05, (200, 10)).astype(np.float32) for _ in range(2))
    graph = ir.from_proto(before)
    rows = data_set("rows", inputs_of(before), lambda: ({"X": row[None]} for row in calibration), 200)
    data = rows if with_data else None
    changed, _ = run_pass(few, graph, data=data)
    assert changed and not run_pass(few, graph, data=data)[0]
    after = ir.to_proto(graph)
    assert len(attributes(after, NEWER)["tree_roots"]) == 16  # and one that is the base value
    one, two = (next(iter(run(each, {"X": x}).values())).ravel() for each in (before, after))
    assert np.corrcoef(one, two)[0, 1] > 0.9
    assert abs(np.mean(one - two)) < 0.1 * np.std(one)


def test_fewer_trees_classify() -> None:
    before = onnx.load(FIXTURES / "iris_forest.onnx")
    after = compacted(before, CompactTrees(max_trees=10))
    x = np.random.default_rng(0).uniform(0, 8, (2000, 4)).astype(np.float32)
    one, two = (next(iter(run(each, {"X": x}).values())) for each in (before, after))
    assert np.mean(one == two) > 0.75  # most of these rows are unlike any iris; its first ten trees agree on 0.68


def test_fewer_trees_are_refused_where_they_are_no_sum() -> None:
    for attrs in (regressor(aggregate_function="MIN"), regressor(aggregate_function="AVERAGE")):
        assert any("added up" in reason for reason in refusals(graph_of(REGRESSOR, attrs), CompactTrees(max_trees=1)))
    with pytest.raises(ValueError, match="at least 1"):
        CompactTrees(max_trees=0)
