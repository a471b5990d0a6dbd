"""One name, one value."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxopt.frontends.torch.ssa import repair

HEAD = '<ir_version: 8, opset_import: ["" : 18]> '


def model(text: str, *renamed: tuple[int, str]) -> onnx.ModelProto:
    """A model in which the outputs of these nodes have been called anew."""
    made = onnx.parser.parse_model(HEAD + text)
    for index, name in renamed:
        made.graph.node[index].output[0] = name
    return made


def run(made: onnx.ModelProto) -> np.ndarray:
    onnx.checker.check_model(made, full_check=True)
    session = ort.InferenceSession(made.SerializeToString())
    return np.asarray(session.run(None, {"x": np.array([1, 2], np.float32)})[0])


def test_a_whole_model_is_left_alone() -> None:
    made = model("g (float[2] x) => (float[2] y) { a = Neg (x) y = Abs (a) }")
    before = made.SerializeToString()
    assert repair(made) == [] and made.SerializeToString() == before


def test_an_output_with_the_name_of_a_value_inside() -> None:
    """What torch makes of `(x + 1) * 2 - x` with output_names=["add"]."""
    made = model("g (float[2] x) => (float[2] add) <float o = {1}, float t = {2}> "
                 "{ add = Add (x, o) mul = Mul (add, t) last = Sub (mul, x) }", (2, "add"))  # fmt: skip
    with pytest.raises(onnx.checker.ValidationError, match="single static assignment"):
        onnx.checker.check_model(made)
    assert repair(made) == ["add"]
    assert [list(node.output) for node in made.graph.node] == [["add_1"], ["mul"], ["add"]]
    np.testing.assert_array_equal(run(made), [3, 4])


def test_a_weight_with_the_name_of_the_output() -> None:
    made = model("g (float[2] x) => (float[2] w) <float w = {3}> { a = Mul (x, w) last = Neg (a) }", (1, "w"))
    assert repair(made) == ["w"]
    assert [tensor.name for tensor in made.graph.initializer] == ["w_1"]
    np.testing.assert_array_equal(run(made), [-3, -6])


def test_three_of_one_name_and_a_graph_within_that_reads_one() -> None:
    made = model("""g (float[2] x) => (float[2] v) <bool c = {1}> {
        a = Neg (x)
        b = Exp (a)
        z = If (c) < then_branch = t () => (float[2] i) { i = Identity (b) },
                     else_branch = e () => (float[2] j) { j = Neg (b) } >
        v = Add (z, b)
    }""")
    made.graph.node[0].output[0] = made.graph.node[1].output[0] = "v"
    made.graph.node[1].input[0] = made.graph.node[3].input[1] = "v"
    for attribute in made.graph.node[2].attribute:
        attribute.g.node[0].input[0] = "v"
    assert repair(made) == ["v"]
    np.testing.assert_allclose(run(made), 2 * np.exp([-1, -2]), rtol=1e-6)
