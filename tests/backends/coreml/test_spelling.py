"""Operators without a lowering, said by others: as ONNX defines them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="lowering makes MIL, which coremltools has")

from onnxopt.rules.coreml.table import TABLE
from tests.backends.coreml.lowered import assert_agrees, conforms, evaluated, model_of, problems

RANDOM = np.random.default_rng(11)


def floats(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def test_nothing_is_said_otherwise_that_has_a_lowering() -> None:
    from onnxopt.backends.coreml.lowering import families  # noqa: F401  registers them
    from onnxopt.backends.coreml.lowering.registry import lowered_operators

    assert not set(TABLE) & set(lowered_operators())


def test_what_the_operators_are_specified_to_give() -> None:
    equal, refused = conforms(*(set(TABLE) - {"Attention", "SoftmaxCrossEntropyLoss"}))
    assert equal >= 40
    expected = ("rank 7", "is empty", "has no fixed size")
    assert all(any(each in reason for each in expected) for reason in refused.values()), refused


@pytest.mark.parametrize(("op", "least"), [("Attention", 12), ("SoftmaxCrossEntropyLoss", 5)])
def test_those_with_many_models_by_some_of_them(op: str, least: int) -> None:
    equal, refused = conforms(op, every=6)
    assert equal >= least
    assert all("rank 7" in reason or "bfloat16" in reason for reason in refused.values()), refused


@pytest.mark.parametrize("heads", [(4, 4), (4, 2)])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_with_flexible_sizes(heads: tuple[int, int], masked: bool) -> None:
    """Batch and length are known only when it runs; nothing of the definition depends on their numbers."""
    queries, keys = heads
    node = helper.make_node("Attention", ["q", "k", "v"] + ["m"] * masked, ["y"], is_causal=1)
    shapes = {"q": ["b", queries, "s", 8], "k": ["b", keys, "s", 8], "v": ["b", keys, "s", 8], "m": ["s", "s"]}
    model = None
    for batch, length in ((1, 2), (2, 5)):
        sizes: dict[Any, int] = {"b": batch, "s": length}
        given = {name: [sizes.get(dim, dim) for dim in shape] for name, shape in shapes.items()}
        feeds = {name: floats(*given[name]) for name in ("q", "k", "v")}
        if masked:
            feeds["m"] = floats(*given["m"])
        model = model or model_of([node], feeds, {"y": np.float32}, 24, shapes)
        assert_agrees(model, feeds)


def test_why_a_node_could_not_be_said_otherwise() -> None:
    theta, size = floats(1, 2, 3), np.array([1, 1, 2, 2])
    node = helper.make_node("AffineGrid", ["t", "s"], ["y"], name="grid")
    found = problems(model_of([node], {"t": theta, "s": size}, {"y": np.float32}, 20))
    assert found == [
        "AffineGrid grid: there is no lowering of AffineGrid; not done: spelled as a MatMul: the value of 's' is not "
        "known before the model runs"
    ]


def test_what_was_said_otherwise_is_told(tmp_path: Path) -> None:
    from onnxopt.backends.coreml.compiling import Asked, compile_model

    x = floats(1, 4, 6)
    nodes = [helper.make_node("Swish", ["x"], ["s"], alpha=2.0), helper.make_node("SwiGLU", ["s", "s"], ["y"])]
    model = model_of(nodes, {"x": x}, {"y": np.float32}, 28)
    onnx.save(model, tmp_path / "m.onnx")
    compiled = compile_model(tmp_path / "m.onnx", Asked("iOS17", "float32"), None)
    assert not compiled.problems
    assert compiled.spelled == {"SwiGLU written as ONNX defines it": 1}
    swished = x / (1 + np.exp(-2 * x))
    (found,) = evaluated(model, {"x": x})
    np.testing.assert_allclose(found, swished / (1 + np.exp(-swished)) * swished, rtol=1e-5)
