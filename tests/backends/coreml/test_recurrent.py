"""Layers with a state, in Core ML's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="lowering makes MIL, which coremltools has")

from tests.backends.coreml.lowered import assert_agrees, conforms, model_of, operations, problems
from tests.backends.coreml.packages import Package, run

STEPS, BATCH, FEATURES, HIDDEN = 5, 2, 3, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
RANDOM = np.random.default_rng(13)


def layer(op: str, direction: str, *more: str, flexible: Any = None, **attributes: Any) -> Any:
    """A layer with all its outputs, and what it is fed."""
    ways, rows = (2 if direction == "bidirectional" else 1), GATES[op] * HIDDEN

    def floats(*shape: int) -> Any:
        return RANDOM.standard_normal(shape).astype(np.float32)

    constants = {"w": floats(ways, rows, FEATURES), "r": floats(ways, rows, HIDDEN), "b": floats(ways, 2 * rows)}
    feeds = {"x": floats(STEPS, BATCH, FEATURES)}
    inputs = ["x", "w", "r", "b", ""]
    states = ["h", "c"] if op == "LSTM" else ["h"]
    if "states" in more:
        inputs += states
        feeds |= {name: floats(ways, BATCH, HIDDEN) for name in states}
    if "peepholes" in more:
        inputs += ["", ""] * ("states" not in more) + ["p"]
        constants["p"] = floats(ways, 3 * HIDDEN)
    outputs = ["y", *(f"y{name}" for name in states)]
    node = helper.make_node(op, inputs, outputs, hidden_size=HIDDEN, direction=direction, **attributes)
    return model_of([node], feeds, dict.fromkeys(outputs, np.float32), flexible=flexible, **constants), feeds


def test_what_the_operators_are_specified_to_give() -> None:
    equal, refused = conforms("LSTM", "GRU", "RNN")
    assert equal >= 12
    assert not refused


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("states", [(), ("states",)])
def test_directions_and_first_states(op: str, direction: str, states: Any) -> None:
    assert_agrees(*layer(op, direction, *states))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_a_gru_resets_after_the_product(direction: str) -> None:
    assert_agrees(*layer("GRU", direction, "states", linear_before_reset=1))


def test_peepholes_and_coupled_gates_are_spelled_out() -> None:
    model, feeds = layer("LSTM", "bidirectional", "states", "peepholes")
    assert_agrees(model, feeds)
    assert "lstm" not in operations(model)
    assert_agrees(*layer("LSTM", "forward", input_forget=1))
    assert_agrees(*layer("LSTM", "forward", activations=["Sigmoid", "Relu", "Tanh"]))


def test_an_lstm_of_flexible_length() -> None:
    model, feeds = layer("LSTM", "bidirectional", flexible={"x": ["steps", "batch", FEATURES]})
    assert "lstm" in operations(model)
    assert_agrees(model, feeds)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"clip": 1.0}, "attribute clip=1.0"),
        ({"activations": ["Sigmoid", "Elu", "Tanh"]}, "attribute activations='Elu'"),
        ({"activation_alpha": [0.5]}, "attribute activation_alpha=[0.5]"),
    ],
)
def test_what_is_refused(attributes: Any, reason: str) -> None:
    assert reason in problems(layer("LSTM", "forward", **attributes)[0])[0]


@pytest.mark.parametrize("after", [0, 1])
def test_a_gru_of_flexible_length_is_a_loop(after: int, tmp_path: Path) -> None:
    model, feeds = layer("GRU", "bidirectional", flexible={"x": ["steps", BATCH, FEATURES]}, linear_before_reset=after)
    assert operations(model).count("while_loop") == 2
    assert_agrees(model, feeds)
    package = Package(model, tmp_path / "m.mlpackage", "iOS17", "float32")
    expected = run(model, feeds)
    for name, value in zip(("y", "yh"), expected, strict=True):
        np.testing.assert_allclose(package.run(feeds)[name], value, rtol=1e-5, atol=1e-6)


def test_many_steps_are_a_loop() -> None:
    weights = {"w": (1, 12, 3), "r": (1, 12, 4), "b": (1, 24)}
    constants = {name: RANDOM.standard_normal(shape).astype(np.float32) / 2 for name, shape in weights.items()}
    feeds = {"x": RANDOM.standard_normal((100, 2, 3)).astype(np.float32)}
    node = helper.make_node("GRU", ["x", *weights], ["y", "yh"], hidden_size=4)
    model = model_of([node], feeds, {"y": np.float32, "yh": np.float32}, **constants)
    assert "while_loop" in operations(model)
    assert_agrees(model, feeds)
