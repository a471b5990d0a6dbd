"""Both recognizing passes on variants of what they know: other ranks, numbers with axes, other values, more readers.

Whatever they do with them, outputs keep their values and shapes. The variants are drawn from a fixed seed.
"""

from __future__ import annotations

import random
from typing import get_args

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxopt import ir
from onnxopt.passes.recognize_activations import RecognizeActivations
from onnxopt.passes.recognize_normalizations import RecognizeNormalizations
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.dialect import Composite, Dialect
from tests.passes.checks import run, run_pass
from tests.passes.test_recognize_activations import SPELLED
from tests.passes.test_recognize_normalizations import LAYER_NORMS, WEIGHTS

Case = tuple[onnx.ModelProto, dict[str, np.ndarray]]
CASES = [(body, weights, opset) for body, weights, opset, _ in SPELLED]
CASES += [(body, WEIGHTS, opset) for body, opset, _ in LAYER_NORMS.values()]


def variant(seed: int) -> Case:
    rng = random.Random(seed)
    body, weights, opset = rng.choice(CASES)
    shape = [rng.randint(1, 4) for _ in range(rng.randint(0, 5))]
    if "ReduceM" in body and rng.random() < 0.8:
        shape = [2, 3, 4]
    declared = f"[{','.join(map(str, shape))}]" if shape else ""
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : {opset}]> g (float{declared} x) => (float y) <{weights}> {{ {body} }}'
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    for initializer in model.graph.initializer:
        value = numpy_helper.to_array(initializer)
        if value.dtype == np.float32 and value.size == 1 and rng.random() < 0.25:
            value = value.reshape([1] * rng.randint(0, 4))
        if value.dtype == np.float32 and rng.random() < 0.04:
            value = value * np.float32(rng.choice([0, -1, 1.0001, 2]))
        initializer.CopyFrom(numpy_helper.from_array(value, initializer.name))
    inner = [name for node in model.graph.node for name in node.output if name != "y"]
    if inner and rng.random() < 0.15:
        model.graph.node.append(onnx.helper.make_node("Identity", [rng.choice(inner)], ["extra"]))
        model.graph.output.append(onnx.helper.make_tensor_value_info("extra", onnx.TensorProto.FLOAT, None))
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        if rng.random() < 0.2:
            dim.dim_param = f"d{rng.randint(0, 99)}"
    return model, {"x": (np.random.default_rng(seed).normal(size=shape) * 3).astype(np.float32)}


def reference(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """The outputs; None where the variant is no valid model."""
    try:
        return run(model, feeds)
    except Exception:  # noqa: BLE001
        return None


@pytest.mark.parametrize("start", range(0, 240, 60))
def test_variants_keep_their_outputs(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "dialect", Dialect((*get_args(Composite), "Softplus")))  # type: ignore[arg-type]
    changed = 0
    for seed in range(start, start + 60):
        model, feeds = variant(seed)
        before = reference(model, feeds)
        if before is None:
            continue
        graph = ir.from_proto(model)
        changed += sum(run_pass(pass_, graph)[0] for pass_ in (RecognizeActivations(), RecognizeNormalizations()))
        after = run(ir.to_proto(graph), feeds)
        for name, expected in before.items():
            assert after[name].shape == expected.shape, (seed, name)
            np.testing.assert_allclose(after[name], expected, rtol=1e-4, atol=2e-5, err_msg=f"{seed} {name}")
    assert changed > 20
