"""`requantize`: a model that onnxruntime quantized fits another target, bit for bit, or it is said why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime import quantization as theirs

from onnxopt import ir
from onnxopt.errors import CheckFailed
from onnxopt.passes.requantize import Requantize
from onnxopt.quantization.legality import violations
from tests.passes import checks
from tests.passes.checks import assert_equal_outputs, check_golden, parse, random_feeds, run, run_pass

PASS = Requantize()
FIXTURES = Path(__file__).parents[2] / "fixtures"
HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
BODY = """
    xq = QuantizeLinear (x, xs, z)
    xd = DequantizeLinear (xq, xs, z)
    wd = DequantizeLinear <axis = 0> (w, ws, wz)
    bd = DequantizeLinear <axis = 0> (b, bs, bz)
    y = Conv (xd, wd, bd)
"""
WEIGHTS = """float xs = {0.1}, uint8 z = {128}, uint8[2, 5, 1, 1] w = {0, 1, 127, 128, 129, 255, 3, 4, 128, 7},
    float[2] ws = {0.01, 0.02}, uint8[2] wz = {128, 128}, int32[2] b = {123456789, -7}, float[2] bs = {0.001, 0.002},
    int32[2] bz = {0, 0}"""


def model(
    body: str = BODY,
    weights: str = WEIGHTS,
    inputs: str = "float[1, 5, 3, 3] x",
    outputs: str = "float[a, b, c, d] y",
    head: str = HEAD,
) -> ir.Graph:
    return parse(f"{head} g ({inputs}) => ({outputs}) <{weights}> {{ {body} }}")


def check(graph: ir.Graph, target: str, pass_: Requantize = PASS, expect_change: bool = True) -> list[str]:
    """Run the pass and hold it to every bit; return its refusals and warnings."""
    before = ir.to_proto(graph.copy())
    changed, ctx = run_pass(pass_, graph, target=target)
    assert changed == expect_change, ctx.refusals
    after = ir.to_proto(graph)
    onnx.checker.check_model(after, full_check=True)
    for seed in range(3):
        feeds = random_feeds(before, seed)
        feeds = {name: value * 9 if value.dtype == np.float32 else value for name, value in feeds.items()}
        assert_equal_outputs(run(before, feeds), run(after, feeds), PASS.preserves)
    text = ir.to_text(graph)
    again, _ = run_pass(pass_, graph, target=target)
    assert not again and ir.to_text(graph) == text, "not idempotent"
    return [refusal.what for refusal in ctx.refusals] + ctx.warnings


def test_golden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "run_pass", lambda pass_, graph: run_pass(pass_, graph, target="tensorrt"))
    check_golden(PASS, model(), "uint8 with zero point 128 and an int32 bias, for tensorrt")


def test_symmetric_uint8_and_an_int32_bias_fit_tensorrt() -> None:
    graph = model()
    assert any(one.is_wrong for one in violations(graph, "tensorrt"))
    check(graph, "tensorrt")
    assert violations(graph, "tensorrt") == []


def test_an_int8_activation_fits_qnn() -> None:
    graph = model(weights=WEIGHTS.replace("uint8 z = {128}", "int8 z = {-5}"))
    check(graph, "qnn", Requantize(leftover="warn"))
    maker = graph.nodes[0]
    assert int(maker.inputs[2].read()) == 123 and maker.inputs[2].dtype == np.uint8


def test_a_zero_point_that_is_left_out_is_written_for_tensorrt() -> None:
    body = "wd = DequantizeLinear <axis = 0> (w, ws) xq = QuantizeLinear <output_dtype = 3> (x, xs) "
    body += "xd = DequantizeLinear (xq, xs) y = Conv (xd, wd)"
    weights = "int8[2, 5, 1, 1] w = {0, 1, 127, -128, 2, 5, 3, 4, 6, 7}, float[2] ws = {0.01, 0.02}, float xs = {0.1}"
    graph = model(body, weights)
    check(graph, "tensorrt")
    assert violations(graph, "tensorrt") == []


def test_a_scale_that_is_a_list_of_one_becomes_a_scalar_for_tensorrt() -> None:
    listed = WEIGHTS.replace("float xs = {0.1}, uint8 z = {128}", "float[1] xs = {0.1}, uint8[1] z = {128}")
    graph = model(weights=listed)
    check(graph, "tensorrt")
    assert violations(graph, "tensorrt") == []
    coded = [node for node in graph.nodes if node.op.endswith("Linear") and node.inputs[1].name == "xs_scalar"]
    assert [tuple(each.shape) for node in coded for each in node.inputs[1:]] == [()] * 4


def test_nothing_is_done_for_onnx_nor_to_a_float_graph() -> None:
    check(model(), "onnx", expect_change=False)
    assert (
        check(model("y = Conv (x, k)", "float[1, 5, 1, 1] k = {1, 2, 3, 4, 5}"), "tensorrt", expect_change=False) == []
    )


def refused(target: str, body: str = BODY, weights: str = WEIGHTS, **interface: str) -> list[str]:
    graph = model(body, weights, **interface)
    before = ir.to_text(graph)
    with pytest.raises(CheckFailed, match=f"the model does not fit {target}: "):
        run_pass(PASS, model(body, weights, **interface), target=target)
    _, ctx = run_pass(Requantize(leftover="warn"), graph, target=target)
    assert before or ctx
    assert any("does not fit" in warning for warning in ctx.warnings)
    return [refusal.what for refusal in ctx.refusals]


def test_other_zero_points_are_refused() -> None:
    reasons = refused("tensorrt", weights=WEIGHTS.replace("z = {128}", "z = {7}"))
    assert reasons == ["uint8 stays: its zero point is 7, and only 128 becomes the 0 of int8"]
    reasons = refused("tensorrt", weights=WEIGHTS.replace("wz = {128, 128}", "wz = {128, 3}"))
    assert reasons == ["uint8 stays: its zero point is 3, and only 128 becomes the 0 of int8"]


def test_the_error_names_what_keeps_the_model_from_fitting() -> None:
    graph = model(weights=WEIGHTS.replace("z = {128}", "z = {7}"))
    with pytest.raises(CheckFailed, match=r"QuantizeLinear -> xq: an activation of uint8.*more"):
        run_pass(PASS, graph, target="tensorrt")


def test_integers_that_something_else_reads_are_refused() -> None:
    body = BODY + "i = Cast <to = 1> (xq)"
    reasons = refused("tensorrt", body, outputs="float[a, b, c, d] y, float[1, 5, 3, 3] i")
    assert reasons == ["uint8 stays: Cast -> i reads the integers of 'xq' as they are"]


def test_integers_of_the_interface_are_refused() -> None:
    body = BODY.replace("xq = QuantizeLinear (x, xs, z)", "")
    reasons = refused("tensorrt", body, inputs="uint8[1, 5, 3, 3] xq")
    assert reasons == ["uint8 stays: 'xq' is no constant, and no QuantizeLinear makes it"]
    reasons = refused("tensorrt", outputs="float[a, b, c, d] y, uint8[1, 5, 3, 3] xq")
    assert reasons == ["uint8 stays: 'xq' is an output of the model, and keeps its type"]


def test_a_bias_with_a_zero_point_is_refused() -> None:
    reasons = refused("tensorrt", weights=WEIGHTS.replace("bz = {0, 0}", "bz = {0, 1}"))
    assert reasons == ["the bias stays quantized: its zero point is not 0"]


def test_shared_weights_are_shared_still() -> None:
    body = BODY.replace("y = Conv (xd, wd, bd)", """wd2 = DequantizeLinear <axis = 0> (w, ws, wz)
        c = Conv (xd, wd, bd) d = Conv (xd, wd2, bd) y = Add (c, d)""")  # fmt: skip
    graph = model(body)
    check(graph, "tensorrt")
    weights = {node.inputs[0] for node in graph.nodes if node.name == "" and isinstance(node.inputs[0], ir.Constant)}
    assert len(weights) == 1


def test_weights_of_constant_nodes() -> None:
    body = "w = Constant <value = uint8[2, 5, 1, 1] {0, 1, 127, 128, 129, 255, 3, 4, 128, 7}> ()" + BODY
    weights = WEIGHTS.replace("uint8[2, 5, 1, 1] w = {0, 1, 127, 128, 129, 255, 3, 4, 128, 7},", "")
    graph = model(body, weights)
    check(graph, "tensorrt")
    assert all(node.op != "Constant" for node in graph.nodes)


def test_in_a_subgraph() -> None:
    body = f"""
        y = If (c) <
            then_branch = t () => (float[1, 2, 3, 3] u) {{ {BODY.replace("y = ", "u = ")} }},
            else_branch = e () => (float[1, 2, 3, 3] v) {{ v = Slice (x, from, to, axes) }}
        >"""
    weights = WEIGHTS + ", int64[1] from = {0}, int64[1] to = {2}, int64[1] axes = {1}"
    graph = model(body, weights, inputs="float[1, 5, 3, 3] x, bool c")
    check(graph, "tensorrt")
    assert not any(one.is_wrong for one in violations(graph, "tensorrt"))


def test_a_limit_leaves_the_rest_and_is_no_error() -> None:
    graph = model()
    changed, ctx = run_pass(PASS, graph, target="tensorrt", limit=1)
    assert changed and len(ctx.rewrites) == 1


class _Reader(theirs.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, values: np.ndarray) -> None:
        self.feeds: Iterator[dict[str, np.ndarray]] = iter({name: values[i : i + 8]} for i in range(0, 32, 8))

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


@pytest.mark.parametrize("target", ["tensorrt", "coreml"])
@pytest.mark.parametrize("kind", ["QUInt8", "QInt8"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_what_onnxruntime_quantized_keeps_every_bit(target: str, kind: str, per_channel: bool, tmp_path: Path) -> None:
    """digits_mobilenet by `quantize_static`, symmetric, in QDQ format."""
    source = FIXTURES / "digits_mobilenet" / "digits_mobilenet.onnx"
    data = np.load(FIXTURES / "digits_mobilenet" / "calibration.npz")
    name = data.files[0]
    theirs.quantize_static(
        source, tmp_path / "q.onnx", _Reader(name, data[name]), quant_format=theirs.QuantFormat.QDQ,
        activation_type=theirs.QuantType[kind], weight_type=theirs.QuantType[kind], per_channel=per_channel,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
    )  # fmt: skip
    graph = ir.load(tmp_path / "q.onnx")
    before = ir.to_proto(graph.copy())
    changed, _ = run_pass(PASS, graph, target=target)
    assert changed
    assert not any(one.is_wrong for one in violations(graph, target))
    feeds = {name: data[name][32:48]}
    assert_equal_outputs(run(before, feeds), run(ir.to_proto(graph), feeds), PASS.preserves)
