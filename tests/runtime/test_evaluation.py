"""Two models judged on the same samples."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

from onnxopt.data import DataSet, inputs_of
from onnxopt.data.dataset import data_set
from onnxopt.data.scoring import Metric
from onnxopt.errors import BadModel, BadOption
from onnxopt.runtime.evaluation import Accuracy, Subject, evaluate, require_limit

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[N, 3] x) => (float[N, 3] y) <float[3] w = {1, 1, 1}> { y = Mul (x, w) }"""
ROWS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]] + 0.25


def model(text: str = TEXT) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def samples(text: str = TEXT, labels: tuple[int, ...] = (0, 1, 2, 0, 0)) -> DataSet:
    rows = [{"x": row, "label": np.asarray(label)} for row, label in zip(ROWS, labels, strict=True)]
    return data_set("rows.npz", inputs_of(model(text)), lambda: iter(rows), len(rows))


def judge(changed: str, metric: str = "top1", data: DataSet | None = None) -> Accuracy:
    data = data or samples()
    return evaluate(Subject("a", model()), Subject("b", model(changed)), data, Metric.of(metric, data))


def test_both_models_are_judged() -> None:
    found = judge(TEXT.replace("{1, 1, 1}", "{0, 1, 1}"))
    assert (found.reference, found.model, found.drop, found.samples) == (80.0, 40.0, 40.0, 5)
    assert math.isfinite(found.outputs["y"]) and not found.broken
    assert found.holds(40.0) and not found.holds(39.9)
    assert found.fault("b") == "" == found.fault("b", 40)
    assert found.fault("b", 0.2) == "b: top1 drops from 80.00 % to 40.00 %, by 40.00 %, and 0.20 % is allowed"


def test_equal_models_lose_nothing() -> None:
    for metric in ("top1", "snr", "cosine"):
        found = judge(TEXT, metric)
        assert found.drop == 0 and found.holds(0) and found.outputs == {"y": math.inf}


def test_nan_is_a_fault_whatever_may_be_lost() -> None:
    found = judge(TEXT.replace("y = Mul (x, w)", "n = Neg (x) y = Log (n)"), "snr")
    assert math.isnan(found.model) and math.isnan(found.drop) and not found.holds(100)
    assert found.fault("b") == "b: output 'y' holds NaN or infinity in sample 0, where the reference is finite"


def test_a_model_may_take_floats_of_another_width() -> None:
    narrow = """<ir_version: 8, opset_import: ["" : 17]>
        g (float16[N, 3] x) => (float16[N, 3] y) { y = Add (x, x) }"""
    found = judge(narrow, "cosine")
    assert found.model == pytest.approx(1, abs=1e-6)


def test_models_with_a_fixed_batch_count_every_sample() -> None:
    fixed = TEXT.replace("[N, 3]", "[5, 3]")
    data = samples(fixed)
    found = evaluate(Subject("a", model(fixed)), Subject("b", model(fixed)), data, Metric.of("top1", data))
    assert (found.model, found.samples) == (80.0, 5)


def test_random_outputs_are_left_out() -> None:
    noisy = TEXT.replace("(float[N, 3] y)", "(float[N, 3] y, float[N, 3] r)").replace(
        "Mul (x, w) }", "Mul (x, w) r = RandomNormalLike (x) }"
    )
    data = samples()
    found = evaluate(Subject("a", model(noisy)), Subject("b", model(noisy)), data, Metric.of("cosine", data))
    assert list(found.outputs) == ["y"] and found.drop == 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (TEXT.replace("float[N, 3] x", "float[N, 3] z").replace("(x, w)", "(z, w)"), "a takes 'x' and b does not"),
        (TEXT.replace("float", "int32"), "'x' is float32"),
    ],
)
def test_models_that_take_other_inputs(changed: str, reason: str) -> None:
    with pytest.raises(BadModel, match=reason):
        judge(changed)


@pytest.mark.parametrize(("metric", "most"), [("snr", 0.1), ("psnr", 0.1), ("top1", math.nan), ("cosine", -1.0)])
def test_drops_that_say_nothing(metric: str, most: float) -> None:
    with pytest.raises(BadOption):
        require_limit(Metric.of(metric, samples()), most)


LONE = """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)
    <float[2, 2, 1, 1] w = {0.001, 100, 0.3, 0.002}, float s = {0.1}, uint8 z = {128}>
    {
        a = QuantizeLinear (x, s, z) b = DequantizeLinear (a, s, z)
        c = Conv (b, w)
        d = QuantizeLinear (c, s, z) y = DequantizeLinear (d, s, z)
    }"""
"""onnxruntime makes integers of w, one scale for all, in which 0.3 is 0 or 0.8."""


def test_for_another_engine_float_weights_stay_float() -> None:
    x = np.zeros((1, 2, 4, 4), np.float32)
    x[:, 0] = 12
    found = Subject("a", onnx.parser.parse_model(LONE), simulated=True).run({"x": x})
    assert found["y"][0, 1, 0, 0] == pytest.approx(3.6, abs=0.01)
