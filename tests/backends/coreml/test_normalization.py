"""Normalizations, by MIL's operations where their parameters are constant, else composed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

pytest.importorskip("coremltools", reason="packages are written by coremltools")

from tests.backends.coreml.packages import Package
from tests.backends.coreml.single_nodes import Case, case, floats, model_of, reasons, require_equal, together

X = floats(2, 4, 3, 5)
SCALE, BIAS, MEAN, VARIANCE = floats(4, seed=1), floats(4, seed=2), floats(4, seed=3), np.abs(floats(4, seed=4))
BATCH = (SCALE, BIAS, MEAN, VARIANCE)
CASES = {
    "batch": case("BatchNormalization", X, *BATCH, constant=[1, 2, 3, 4], opset=15, epsilon=1e-3),
    "batch_computed": case("BatchNormalization", X, *BATCH, opset=15),
    "batch_of_rows": case("BatchNormalization", floats(3, 4), *BATCH, constant=[1, 2, 3, 4], opset=15),
    "instance": case("InstanceNormalization", X, SCALE, BIAS, constant=[1, 2], epsilon=1e-3),
    "instance_volume": case("InstanceNormalization", floats(2, 4, 2, 3, 2), SCALE, BIAS, constant=[1, 2]),
    "layer": case("LayerNormalization", X, floats(5), floats(5, seed=1), constant=[1, 2], opset=17),
    "layer_axes": case("LayerNormalization", X, floats(3, 5), constant=[1], opset=17, axis=2, epsilon=1e-3),
    "layer_broadcast": case("LayerNormalization", X, floats(1, 5), constant=[1], opset=17, axis=-2),
    "layer_statistics": case("LayerNormalization", X, floats(5), opset=17, outputs=3),
    "group": case("GroupNormalization", X, SCALE, BIAS, constant=[1, 2], opset=21, num_groups=2, epsilon=1e-3),
    "lp_1": case("LpNormalization", X, p=1, axis=1),
    "lp_2": case("LpNormalization", X * (X[..., :1] > 0), axis=-1),
    "lrn_odd": case("LRN", X, size=3, alpha=0.1, beta=0.6, bias=1.3),
    "lrn_whole": case("LRN", X, size=7, alpha=0.1),
    "mean_variance": case("MeanVarianceNormalization", X),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return together(CASES, tmp_path_factory.mktemp("normalization"))


@pytest.mark.parametrize("name", CASES)
def test_gives_what_onnxruntime_gives(name: str, found: Any) -> None:
    require_equal(*found[name], tolerance=1e-4)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("lrn_even", case("LRN", floats(4, 4, 3, 5), size=4, alpha=0.1, beta=0.6)),
        ("root_mean_square", case("RMSNormalization", X, floats(5), constant=[1], opset=23, epsilon=1e-3)),
        ("group_of_opset_18", case("GroupNormalization", X, floats(2), floats(2, seed=1), opset=18, num_groups=2)),
    ],
)
def test_gives_what_the_specification_says(name: str, given: Case, tmp_path: Path) -> None:
    """Where onnxruntime has no kernel: ONNX's own evaluator (its LRN is right where batch and channels are as many)."""
    model, feeds = model_of([(name, given)], given.opset)
    kind = onnx.TensorProto.FLOAT
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(f"{name}_y0", kind, given.inputs[0].shape))
    (found,) = Package(model, tmp_path / "n.mlpackage", "iOS17", "float32").run(feeds).values()
    np.testing.assert_allclose(found, ReferenceEvaluator(model).run(None, feeds)[0], rtol=1e-4, atol=1e-5)


def test_training_is_refused() -> None:
    training = case("BatchNormalization", X, *BATCH, opset=15, training_mode=1)
    assert "attribute training_mode=1" in reasons(training)


def test_norms_of_other_orders_and_uneven_groups_are_refused() -> None:
    assert "attribute num_groups=3" in reasons(case("GroupNormalization", X, SCALE, BIAS, opset=21, num_groups=3))
