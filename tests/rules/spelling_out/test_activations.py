"""Activations by simpler ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxopt import ir
from tests.passes.checks import run, run_pass
from tests.rules.spelling_out.spelled import PASS, check, check_values, model

ODD = np.array([[np.nan, np.inf, -np.inf, 0.0, 3e38, -3e38, 0.5, -0.5, 1e-30]], np.float32)


@pytest.mark.parametrize(
    ("op", "body"),
    [
        ("Softsign", "y = Softsign (x)"),
        ("Celu", "y = Celu (x)"),
        ("Celu", "y = Celu <alpha = 2.5> (x)"),
        ("Shrink", "y = Shrink (x)"),
        ("Shrink", "y = Shrink <lambd = 0.7, bias = 0.3> (x)"),
        ("Erf", "y = Erf (x)"),
    ],
)
def test_same_values_for_odd_ones_too(op: str, body: str) -> None:
    values = np.concatenate([np.random.default_rng(0).normal(size=(4, 9)) * 3, ODD]).astype(np.float32)
    if op == "Softsign":
        values = values[np.isfinite(values).all(axis=1)]  # inf / inf, in onnxruntime too
    size = f"{len(values)},9"
    check(model(f"(float[{size}] x) => (float[{size}] y)", body), gone=op)
    check_values(model(f"(float[{size}] x) => (float[{size}] y)", body), {"x": values})


def test_erf_is_the_error_function() -> None:
    x = np.concatenate([np.linspace(-5, 5, 4001), np.logspace(-20, 0, 50)]).astype(np.float32)
    graph = model(f"(float[{x.size}] x) => (float[{x.size}] y)", "y = Erf (x)")
    run_pass(PASS, graph)
    true = [math.erf(float(each)) for each in x]
    np.testing.assert_allclose(run(ir.to_proto(graph), {"x": x})["y"], true, rtol=5e-7)
