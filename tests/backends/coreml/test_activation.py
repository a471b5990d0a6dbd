"""Activation functions, with the values of their attributes and at their edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools", reason="packages are written by coremltools")

from tests.backends.coreml.single_nodes import case, floats, reasons, require_equal, together

X = np.round(floats(2, 3, 4) * 4) / 2
CASES = {
    **{
        op.lower(): case(op, X)
        for op in ("Celu", "Elu", "HardSigmoid", "HardSwish", "Hardmax", "LeakyRelu", "LogSoftmax", "Mish", "Relu",
                   "Selu", "Shrink", "Softmax", "Softplus", "Softsign", "ThresholdedRelu")
    },
    "celu_alpha": case("Celu", X, alpha=1.7),
    "elu_alpha": case("Elu", X, alpha=0.3),
    "hard_sigmoid_slope": case("HardSigmoid", X, alpha=0.5, beta=0.25),
    "leaky_relu_alpha": case("LeakyRelu", X, alpha=-0.3),
    "relu_of_integers": case("Relu", X.astype(np.int32)),
    "selu_alpha": case("Selu", X, alpha=1.2, gamma=0.7),
    "thresholded_relu_at_the_threshold": case("ThresholdedRelu", X, alpha=1.5),
    "shrink_at_the_threshold": case("Shrink", X, lambd=1.5, bias=0.5),
    "gelu": case("Gelu", X, opset=20),
    "gelu_tanh": case("Gelu", X, opset=20, approximate="tanh"),
    "prelu_scalar": case("PRelu", X, np.array([0.3], np.float32), constant=[1]),
    "prelu_channels": case("PRelu", floats(1, 3, 2, 2), floats(3, 1, 1), constant=[1]),
    "prelu_channels_1d": case("PRelu", X, floats(3, 1), constant=[1]),
    "prelu_computed": case("PRelu", X, floats(3, 4)),
    **{f"{op.lower()}_axis": case(op, X, axis=1) for op in ("Softmax", "LogSoftmax", "Hardmax")},
    **{f"{op.lower()}_flattened": case(op, X, opset=11, axis=1) for op in ("Softmax", "LogSoftmax", "Hardmax")},
    "softmax_large": case("Softmax", X * 1e4),
    "log_softmax_large": case("LogSoftmax", X * 1e4),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return together(CASES, tmp_path_factory.mktemp("activation"))


@pytest.mark.parametrize("name", CASES)
def test_gives_what_onnxruntime_gives(name: str, found: Any) -> None:
    require_equal(*found[name])


@pytest.mark.parametrize("alpha", [1.0, 1.7])
def test_swish_is_a_gate(alpha: float, tmp_path: Any) -> None:
    """Not in onnxruntime: x * sigmoid(alpha * x)."""
    from onnx import helper

    from tests.backends.coreml.packages import Package, model

    node = helper.make_node("Swish", ["x"], ["y"], alpha=alpha)
    given = model([node], {"x": X.shape}, {"y": X.shape}, opset=24)
    (found,) = Package(given, tmp_path / "s.mlpackage", "iOS17", "float32").run({"x": X}).values()
    np.testing.assert_allclose(found, X / (1 + np.exp(-alpha * X)), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_said_is_refused() -> None:
    assert "attribute bias=0.5 makes fractions" in reasons(case("Shrink", X.astype(np.int32), bias=0.5))
    assert "attribute axis=3 is beyond rank 3" in reasons(case("Softmax", X, axis=3))
    assert "has a flexible shape" in reasons(case("Softmax", X, axis=1, opset=11), d1="channels")
