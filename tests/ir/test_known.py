"""Values known before the model runs: constants and Constant nodes, never what a caller may change."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt.ir.known import known_value
from tests.passes.checks import parse

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("value = float[2] {1, 2}", np.array([1, 2], np.float32)),
        ("value_int = 3", np.array(3, np.int64)),
        ("value_ints = [3, 4]", np.array([3, 4], np.int64)),
        ("value_float = 0.5", np.array(0.5, np.float32)),
        ("value_floats = [0.5]", np.array([0.5], np.float32)),
    ],
)
def test_constant_nodes(attribute: str, expected: np.ndarray) -> None:
    graph = parse(f"{HEAD} g (float[2] x) => (float[2] y) {{ c = Constant <{attribute}> () y = Identity (x) }}")
    value = known_value(graph.nodes[0].outputs[0])
    assert value is not None and value.dtype == expected.dtype
    np.testing.assert_array_equal(value, expected)


def test_initializers_inputs_and_defaults() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2] x, float[2] d = {{5, 6}}) => (float[2] y) <float[2] w = {{1, 2}}> {{
            a = Add (x, d) y = Mul (a, w)
        }}
    """)
    x, d = graph.nodes[0].inputs
    assert known_value(x) is None and known_value(d) is None and known_value(graph.nodes[0].outputs[0]) is None
    np.testing.assert_array_equal(known_value(graph.nodes[1].inputs[1]), [1, 2])


def test_large_values_are_left_alone() -> None:
    graph = parse(f"{HEAD} g (float[2] x) => (float[2] y) <float[2] w = {{1, 2}}> {{ y = Mul (x, w) }}")
    assert known_value(graph.nodes[0].inputs[1], limit=1) is None
