"""Branches and loops, in Core ML's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("coremltools", reason="lowering makes MIL, which coremltools has")

from tests.backends.coreml.lowered import assert_agrees, conforms, model_of, operations, problems
from tests.backends.coreml.packages import Package

X = np.arange(6, dtype=np.float32).reshape(2, 3)
OUT = {"y": np.float32}


def constant(name: str, value: Any) -> Any:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value), name))


def branch(name: str, *nodes: Any, outputs: tuple[str, ...] = ()) -> Any:
    given = [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in outputs or (name,)]
    return helper.make_graph(list(nodes), name, [], given)


def chosen(condition: str = "c") -> Any:
    """Twice x plus one, or x minus a constant: each with a branch of its own within."""
    inner = helper.make_node(
        "If",
        ["d"],
        ["then"],
        then_branch=branch("a", helper.make_node("Add", ["twice", "one"], ["a"])),
        else_branch=branch("b", helper.make_node("Identity", ["x"], ["b"])),
    )
    then = branch("then", constant("one", np.float32(1)), helper.make_node("Add", ["x", "x"], ["twice"]), inner)
    other = branch("other", constant("one_", np.float32(1)), helper.make_node("Sub", ["x", "one_"], ["other"]))
    return helper.make_node("If", [condition], ["y"], then_branch=then, else_branch=other)


def test_what_the_operators_are_specified_to_give() -> None:
    equal, refused = conforms("If", "Loop", "Scan")
    assert equal >= 5
    assert all("before opset 9" in reason for reason in refused.values()), refused


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("inner", [True, False])
def test_branches_within_branches(outer: bool, inner: bool) -> None:
    feeds = {"x": X, "c": np.array(outer), "d": np.array([inner])}
    model = model_of([chosen()], feeds, OUT)
    assert_agrees(model, feeds)
    assert operations(model).count("cond") == 1


def test_a_condition_that_is_known_leaves_one_branch() -> None:
    model = model_of([chosen()], {"x": X}, OUT, c=np.array(True), d=np.array([False]))
    assert "cond" not in operations(model)
    assert_agrees(model, {"x": X})


def test_branches_of_other_shapes_are_refused() -> None:
    then = branch("then", helper.make_node("Identity", ["x"], ["then"]))
    other = branch("other", helper.make_node("ReduceSum", ["x"], ["other"], keepdims=1))
    node = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    assert "[2, 3]" in problems(model_of([node], {"x": X, "c": np.array(True)}, OUT))[0]


def test_what_is_refused_within_a_branch_is_named() -> None:
    then = branch("then", helper.make_node("RandomUniformLike", ["x"], ["then"]))
    other = branch("other", helper.make_node("Identity", ["x"], ["other"]))
    nodes = [
        helper.make_node("If", ["c"], ["z"], then_branch=then, else_branch=other),
        helper.make_node("Neg", ["z"], ["y"]),
    ]
    (problem,) = problems(model_of(nodes, {"x": X, "c": np.array(True)}, OUT))
    assert problem.startswith("RandomUniformLike")


def loop(turns: str, condition: str, body: list[Any], scans: bool = False) -> Any:
    info = helper.make_tensor_value_info
    inputs = [
        info("turn", TensorProto.INT64, []),
        info("go", TensorProto.BOOL, []),
        info("s", TensorProto.FLOAT, [2, 3]),
    ]
    outputs = [info("on", TensorProto.BOOL, []), info("next", TensorProto.FLOAT, [2, 3])]
    outputs += [info("row", TensorProto.FLOAT, [2])] * scans
    graph = helper.make_graph(body, "body", inputs, outputs)
    return helper.make_node("Loop", [turns, condition, "x"], ["y", "rows"][: 1 + scans], body=graph)


COUNTED = [
    constant("half", np.float32(0.5)),
    helper.make_node("Identity", ["go"], ["on"]),
    helper.make_node("Cast", ["turn"], ["number"], to=TensorProto.FLOAT),
    helper.make_node("Mul", ["s", "half"], ["halved"]),
    helper.make_node("Add", ["halved", "number"], ["next"]),
    helper.make_node("ReduceMax", ["next"], ["row"], axes=[1], keepdims=0),
]


def test_few_turns_are_spelled_out_with_what_they_collect() -> None:
    model = model_of(
        [loop("m", "", COUNTED, scans=True)], {"x": X}, {"y": np.float32, "rows": np.float32}, m=np.array(4)
    )
    assert "while_loop" not in operations(model)
    assert_agrees(model, {"x": X})


@pytest.mark.parametrize("turns", [0, 1, 7])
def test_turns_that_are_fed_make_a_loop(turns: int) -> None:
    feeds = {"x": X, "m": np.array(turns)}
    model = model_of([loop("m", "", COUNTED)], feeds, OUT)
    assert "while_loop" in operations(model)
    assert_agrees(model, feeds)


def test_a_condition_that_is_computed_ends_a_loop() -> None:
    body = [
        constant("limit", np.float32(40)),
        helper.make_node("Add", ["s", "s"], ["next"]),
        helper.make_node("ReduceMax", ["next"], ["most"], keepdims=0),
        helper.make_node("Less", ["most", "limit"], ["on"]),
    ]
    for turns in (np.array(100), np.array(2)):
        assert_agrees(model_of([loop("m", "", body)], {"x": X}, OUT, m=turns), {"x": X})
    collected = loop("m", "", [*body, COUNTED[-1]], scans=True)
    model = model_of([collected], {"x": X}, {"y": np.float32, "rows": np.float32}, m=np.array(100))
    assert "its scan outputs have no fixed shape" in problems(model)[0]


def test_branches_and_loops_come_back_from_a_package(tmp_path: Path) -> None:
    nodes = [loop("m", "", COUNTED), chosen()]
    nodes[0].output[0] = "z"
    nodes.append(helper.make_node("Add", ["y", "z"], ["w"]))
    feeds = {"x": X, "m": np.array(3), "c": np.array(True), "d": np.array([True])}
    model = model_of(nodes, feeds, {"w": np.float32})
    package = Package(model, tmp_path / "m.mlpackage", "iOS17", "float32")
    given = {
        name: np.atleast_1d(value).astype(value.dtype if value.dtype.kind == "f" else np.int32)
        for name, value in feeds.items()
    }
    (found,) = package.run(given).values()
    state = X
    for turn in range(3):
        state = state * np.float32(0.5) + np.float32(turn)
    np.testing.assert_allclose(found, X * 2 + 1 + state, rtol=1e-6)


def test_scans_along_other_axes_and_backwards() -> None:
    info = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Add", ["s", "e"], ["next"]),
        helper.make_node("Mul", ["next", "e"], ["row"]),
    ]
    inputs = [info("s", TensorProto.FLOAT, [2]), info("e", TensorProto.FLOAT, [2])]
    body = helper.make_graph(nodes, "body", inputs, [info(n, TensorProto.FLOAT, [2]) for n in ("next", "row")])
    for back in (0, 1):
        node = helper.make_node(
            "Scan", ["zero", "x"], ["last", "y"], body=body, num_scan_inputs=1, scan_input_axes=[1],
            scan_input_directions=[back], scan_output_axes=[1], scan_output_directions=[1 - back],
        )  # fmt: skip
        outputs = {"last": np.float32, "y": np.float32}
        assert_agrees(model_of([node], {"x": X}, outputs, zero=np.ones(2, np.float32)), {"x": X})


def test_words_of_mil_are_no_names() -> None:
    nodes = [helper.make_node("Neg", ["state"], ["list"]), helper.make_node("Abs", ["list"], ["y"])]
    assert_agrees(model_of(nodes, {"state": X}, OUT), {"state": X})
