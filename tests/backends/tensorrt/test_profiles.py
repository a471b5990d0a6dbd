"""The shapes that inputs of dynamic dimensions may have."""

import pytest

from onnxopt.backends.tensorrt import Tensorrt
from onnxopt.backends.tensorrt.wanted import Profile
from onnxopt.errors import BadOption
from onnxopt.pipeline.backend import Emission
from tests.backends.tensorrt.engines import OPEN, emit, graph, needs_builder

pytestmark = needs_builder
TWO = "g (float[N, 4] x, float[N, 4] z) => (float[N, 4] y) { y = Add(x, z) }"
SHAPED = "g (float[3, 4] x, int64[2] s) => (float[?, ?] y) { y = Reshape(x, s) }"


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ("4x3", Profile((4, 3), (4, 3), (4, 3))),
        ("1x3..8x3", Profile((1, 3), (8, 3), (8, 3))),
        ("1x3..4x3..8x3", Profile((1, 3), (4, 3), (8, 3))),
    ],
)
def test_one_shape_or_two_or_three(text, profile):
    assert Tensorrt(shapes={"x": text})._profiles("shapes", {"x": text}) == {"x": profile}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1,3", "write 1x3x224x224..8x3x224x224 (least and largest), or three of them (least, best, largest)"),
        ("1..2..3..4", "write 1x3x224x224"),
        ("1x3..8", "they differ in their number of dimensions"),
        ("8x3..1x3", "no size may be more than the next one has it"),
    ],
)
def test_anything_else_is_refused_as_it_is_read(text, reason, tmp_path):
    with pytest.raises(BadOption) as caught:
        Emission.parse(f'tensorrt{{shapes=x:"{text}"}}={tmp_path / "m.engine"}')
    assert "shapes of 'x' is" in str(caught.value) and reason in str(caught.value)


def test_every_dynamic_input_needs_one_and_is_told_what_to_write():
    text = "g (float[N, 4] x, float[batch, 3, 8, W] z) => (float[N, 4] y) { y = Relu(x) }"
    first, second = Tensorrt().check(graph(text))
    assert first.node == "input 'x'" and "dimension 0 (N) is dynamic" in first.reason
    assert "shapes=x:1x4..8x4, or run freeze-shapes before" in first.reason
    assert second.node == "input 'z'" and "dimensions 0 (batch), 3 (W) are dynamic" in second.reason
    assert "shapes=z:1x3x8x1..8x3x8x8" in second.reason


@pytest.mark.parametrize(
    ("text", "shapes", "reason"),
    [
        (OPEN, {"X": "1x4"}, "shapes: there is no input 'X'; did you mean x?"),
        (OPEN, {"x": "1x4x1"}, "shapes: 'x' has 2 dimensions, Nx4, and 3 are given"),
        (OPEN, {"x": "1x4..8x5"}, "shapes: dimension 1 of 'x' is 4 in the model, and 4..5 is given"),
        (TWO, {"x": "1x4..8x4", "z": "1x4"}, "the dimension N is 1..8 in 'x' and 1 in 'z': give both the same"),
    ],
)
def test_shapes_have_to_fit_the_model(text, shapes, reason):
    with pytest.raises(BadOption) as caught:
        Tensorrt(shapes=shapes).check(graph(text))
    assert reason in str(caught.value)


def test_the_engine_has_them(tmp_path):
    facts = emit(TWO, tmp_path / "m.engine", "shapes=x:1x4..2x4..8x4,z:1x4..2x4..8x4")
    assert facts["profiles"]["z"] == {"min": [1, 4], "opt": [2, 4], "max": [8, 4]}
    assert facts["graph_inputs"][0] == {"name": "x", "dtype": "float32", "shape": [-1, 4]}


def test_an_input_that_decides_a_shape_needs_values():
    with pytest.raises(BadOption, match=r"the input 's' decides shapes.*values=s:1x4..8x4, or make a constant of it"):
        Tensorrt().check(graph(SHAPED))
    assert Tensorrt(values={"s": "4x3"}).check(graph(SHAPED)) == []
    with pytest.raises(BadOption, match="the input 'x' decides no shape"):
        Tensorrt(values={"s": "4x3", "x": "1x1"}).check(graph(SHAPED))


def test_values_that_cannot_be_are_told_with_the_node():
    (problem,) = Tensorrt(values={"s": "4x4"}).check(graph(SHAPED))
    assert problem.node == "Reshape Reshape_0" and problem.reason == (
        "parses, and does not build: Error Code 4: API Usage Error (IShuffleLayer Reshape_0: reshape changes volume. "
        "Reshaping [3,4] to [4,4])"
    )
