"""Inverse and hyperbolic functions, against the functions of numpy in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onnxopt import ir
from tests.passes.checks import run, run_pass
from tests.rules.spelling_out.spelled import PASS, check, model

GRID = np.concatenate([np.linspace(-12, 12, 2001), np.logspace(-8, 38, 400), -np.logspace(-8, 38, 400)])
ODD = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 89.2, -89.2]
X = np.concatenate([GRID, ODD]).astype(np.float32)
FUNCTIONS = {
    "Acos": np.arccos,
    "Acosh": np.arccosh,
    "Asin": np.arcsin,
    "Asinh": np.arcsinh,
    "Atanh": np.arctanh,
    "Cosh": np.cosh,
    "Sinh": np.sinh,
}


def spelled(op: str, dtype: str = "float") -> ir.Graph:
    return model(f"({dtype}[{X.size}] x) => ({dtype}[{X.size}] y)", f"y = {op} (x)")


@pytest.mark.parametrize("op", FUNCTIONS)
def test_is_within_a_few_units_in_the_last_place_everywhere(op: str) -> None:
    graph = spelled(op)
    before = run(ir.to_proto(graph), {"x": X})["y"]
    run_pass(PASS, graph)
    after = run(ir.to_proto(graph), {"x": X})["y"]
    function: Callable[[np.ndarray], np.ndarray] = FUNCTIONS[op]
    with np.errstate(all="ignore"):
        true = function(X.astype(np.float64))
    finite = np.isfinite(before)
    np.testing.assert_allclose(after[finite], true[finite], rtol=1e-6, atol=1e-45)
    np.testing.assert_array_equal(after[~finite], before[~finite])


@pytest.mark.parametrize("op", FUNCTIONS)
def test_becomes_what_every_accelerator_has(op: str) -> None:
    values = np.full((2, 3), 2 if op == "Acosh" else 0.5, np.float32)
    check(model("(float[2,3] x) => (float[2,3] y)", f"y = {op} (x)"), {"x": values}, gone=op)


def test_half_precision_is_computed_in_half_precision() -> None:
    graph = model("(float16[4] x) => (float16[4] y)", "y = Sinh (x)")
    run_pass(PASS, graph)
    types = {tensor.dtype for node in graph.nodes for tensor in node.inputs if isinstance(tensor, ir.Constant)}
    assert types == {np.dtype(np.float16)}
