"""`smooth`: the same model in float, and less noise of the products behind a normalization."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.passes.quantize import Quantize
from onnxopt.passes.smooth import Smooth
from onnxopt.pipeline.base import Preserves
from tests.passes.accuracy_models import TOKENS, arrays, filled, gains
from tests.passes.checks import assert_equal_outputs, run, run_pass
from tests.quantization.calibrated import samples_for

SPREAD = 1.5


def smoothed(graph: ir.Graph) -> tuple[bool, list[str]]:
    samples = arrays(graph)
    before = ir.to_proto(graph.copy())
    changed, ctx = run_pass(Smooth(), graph, data=samples_for(graph, samples))
    feeds = {graph.inputs[0].name: np.stack(samples)}
    assert_equal_outputs(run(before, feeds), run(ir.to_proto(graph), feeds), Preserves.VALUES)
    return changed, [refusal.what for refusal in ctx.refusals]


@pytest.mark.parametrize("seed", range(3))
def test_less_noise_on_data_seen_and_unseen(seed: int) -> None:
    assert min(gains(filled(TOKENS, seed, spread=SPREAD), [Quantize()], [Smooth(), Quantize()])) > 0.3


@pytest.mark.parametrize(
    "normalization", ["LayerNormalization (x, scale, shift)", "LayerNormalization (x, scale)", "Mul (x, scale)"]
)
def test_the_same_values_behind(normalization: str) -> None:
    text = TOKENS.replace("LayerNormalization (x, scale, shift)", normalization)
    if "shift)" not in normalization:
        text = text.replace("float[16] shift, ", "")
    changed, reasons = smoothed(filled(text, spread=SPREAD))
    assert changed and not reasons


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("z = MatMul (n, wk)", "m = MatMul (n, wk) z = Add (m, s) s = Softmax (n)", "does not scale"),
        ("float[N, 6, 8] z)", "float[N, 6, 8] z, float[N, 6, 16] n)", "'n' is an output"),
        ("z = MatMul (n, wk)", "t = Transpose <perm = [0, 2, 1]> (n) z = MatMul (t, x)", "does not scale"),
    ],
)
def test_refusals(old: str, new: str, reason: str) -> None:
    text = TOKENS.replace(old, new)
    if "Softmax" in new:
        text = text.replace("m = MatMul (n, wk) z = Add (m, s) s = Softmax (n)", "z = Softmax (n)")
        text = text.replace("float[N, 6, 8] z", "float[N, 6, 16] z").replace(", float[16, 8] wk", "")
    if "Transpose" in new:
        text = text.replace("float[N, 6, 8] z", "float[N, 16, 16] z").replace(", float[16, 8] wk", "")
    changed, reasons = smoothed(filled(text, spread=SPREAD))
    assert not changed and any(reason in said for said in reasons), reasons


def test_without_data() -> None:
    with pytest.raises(BadOption, match="smooth needs calibration data"):
        run_pass(Smooth(), filled(TOKENS))
