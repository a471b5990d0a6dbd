"""`pad-channels`: channels of zeros round depthwise convolutions, exact in float."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.passes.pad_channels import PadChannels
from onnxopt.passes.quantize import Quantize
from onnxopt.pipeline.quantization import QuantizationRules
from onnxopt.pipeline.target import Target, target_names
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, random_feeds, run, run_pass
from tests.passes.quantize_models import samples
from tests.passes.random_weights import ops, random_layers

TO_4 = PadChannels(multiple=4)
DEPTHWISE = "<group = 6, pads = [1, 1, 1, 1]>"
WEIGHTS = "float[6,4,1,1] w1, float[6] b1, float[6,1,3,3] w2, float[6] b2, float[5,6,1,1] w3, float[5] b3"


def block(first: str = "r = Relu (c)", second: str = "s = Relu (d)", weights: str = "", **given: object) -> ir.Graph:
    """Conv, `first` from c to r, depthwise Conv of 6 channels, `second` from d to s, Conv."""
    body = f"c = Conv (x, w1, b1) {first} d = Conv {DEPTHWISE} (r, w2, b2) {second} y = Conv (s, w3, b3)"
    return random_layers(body, WEIGHTS + weights, **given)  # type: ignore[arg-type]


def shapes(graph: ir.Graph) -> list[tuple[int, ...]]:
    """Of the weights of all Convs."""
    return [node.inputs[1].shape for node in graph.nodes if node.op == "Conv"]


def test_golden() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,1,2,2] x) => (float[1,1,2,2] y)
        <
            float[3,1,1,1] expand = {1, 2, 3}, float[3] b = {-1, 0, 1}, float[3,1,1,1] scale = {4, 5, 6},
            float[1,3,1,1] project = {7, 8, 9}
        >
        {
            c = Conv (x, expand, b)
            r = Relu (c)
            [depthwise] d = Conv <group = 3> (r, scale)
            h = HardSwish (d)
            y = Conv (h, project)
        }
    """)
    check_golden(TO_4, graph, "Conv, depthwise, Conv")


def test_a_block() -> None:
    graph = block()
    ctx = check_pass(TO_4, graph)
    assert shapes(graph) == [(8, 4, 1, 1), (8, 1, 3, 3), (5, 8, 1, 1)]
    assert graph.nodes[2].attrs["group"] == 8
    assert ctx.statistics["pad-channels: channels added"] == 2
    assert ctx.statistics["pad-channels: weights added"] == 2 * (4 + 1 + 9 + 1 + 5)


def test_what_is_added_is_zero() -> None:
    graph = block()
    run_pass(TO_4, graph)
    conv, depthwise, last = (node for node in graph.nodes if node.op == "Conv")
    for node in (conv, depthwise):
        assert not any(tensor.read()[6:].any() for tensor in node.inputs[1:])
    assert not last.inputs[1].read()[:, 6:].any() and last.inputs[2].shape == (5,)


@pytest.mark.parametrize(
    "op",
    [
        "Clip (@, low, high)", "Relu (@)", "Sigmoid (@)", "HardSigmoid (@)", "HardSwish (@)", "LeakyRelu (@)",
        "LeakyRelu <alpha = 3.0> (@)", "Elu <alpha = 2.0> (@)", "Tanh (@)", "PRelu (@, one)", "PRelu (@, slope)",
        "Softsign (@)", "Erf (@)", "Abs (@)", "Neg (@)", "Identity (@)", "MaxPool <kernel_shape = [2, 2]> (@)",
        "AveragePool <kernel_shape = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1> (@)",
        "GlobalAveragePool (@)", "GlobalMaxPool (@)", "ReduceMean <axes = [2, -1]> (@)", "Add (@, one)",
        "Sub (one, @)", "Mul (slope, @)", "Div (@, slope)", "Add (slope, @)", "Mul (@, @)", "Sub (@, wide)",
    ],
)  # fmt: skip
def test_operators_between(op: str) -> None:
    constants = ", float low = {1}, float high = {6}, float[1] one = {-2}, float[6,1,1] slope, float[1,6,1,1] wide"
    before = block(first=f"r = {op.replace('@', 'c')}", weights=constants)
    behind = block(second=f"s = {op.replace('@', 'd')}", weights=constants)
    for graph in (before, behind):
        check_pass(TO_4, graph)
        assert shapes(graph) == [(8, 4, 1, 1), (8, 1, 3, 3), (5, 8, 1, 1)]


def test_squeeze_and_excitation_grows_with_what_it_weighs() -> None:
    gate = (
        "e = HardSwish (d) p = GlobalAveragePool (e) q = Conv (p, v1) t = Relu (q) u = Conv (t, v2, v3) "
        "g = HardSigmoid (u) s = Mul (e, g)"
    )
    graph = block(second=gate, weights=", float[3,6,1,1] v1, float[6,3,1,1] v2, float[6] v3")
    check_pass(TO_4, graph)
    assert shapes(graph) == [(8, 4, 1, 1), (8, 1, 3, 3), (3, 8, 1, 1), (8, 3, 1, 1), (5, 8, 1, 1)]


def test_a_hard_swish_spelled_out() -> None:
    spelled = "a = Add (d, three) k = Clip (a, zero, six) m = Mul (d, k) s = Div (m, six)"
    graph = block(second=spelled, weights=", float three = {3}, float zero = {0}, float six = {6}")
    check_pass(TO_4, graph)
    assert shapes(graph)[1] == (8, 1, 3, 3)


def test_depthwise_convs_in_a_row_grow_together() -> None:
    graph = block(second=f"e = Conv {DEPTHWISE} (d, w4) s = Relu (e)", weights=", float[6,1,3,3] w4")
    ctx = check_pass(TO_4, graph)
    assert shapes(graph) == [(8, 4, 1, 1), (8, 1, 3, 3), (8, 1, 3, 3), (5, 8, 1, 1)]
    assert len(ctx.rewrites) == 1 and ctx.statistics["pad-channels: depthwise convolutions padded"] == 2


def test_every_reader_grows() -> None:
    graph = random_layers(
        f"c = Conv (x, w1, b1) d = Conv {DEPTHWISE} (c, w2) e = Conv (c, w3) f = Conv (d, w3) g = Conv (d, w4) "
        "h = Add (e, f) y = Add (h, g)",
        "float[6,4,1,1] w1, float[6] b1, float[6,1,3,3] w2, float[5,6,1,1] w3, float[5,6,1,1] w4",
    )
    check_pass(TO_4, graph)
    assert shapes(graph) == [(8, 4, 1, 1), (8, 1, 3, 3), (5, 8, 1, 1), (5, 8, 1, 1), (5, 8, 1, 1)]
    assert graph.nodes[2].inputs[1] is graph.nodes[3].inputs[1], "a shared weight stays shared"


def test_a_weight_that_others_read_is_left_to_them() -> None:
    graph = random_layers(
        f"c = Conv (x, w1) d = Conv {DEPTHWISE} (c, w2) z = Conv (d, w3) y = Conv (x, w1)",
        "float[6,4,1,1] w1, float[6,1,3,3] w2, float[5,6,1,1] w3", outputs="float[n,c,h,w] y, float[n,k,h,w] z",
    )  # fmt: skip
    check_pass(TO_4, graph)
    assert shapes(graph) == [(8, 4, 1, 1), (8, 1, 3, 3), (5, 8, 1, 1), (6, 4, 1, 1)]


def test_two_blocks_grow_apart() -> None:
    body = (
        f"c = Conv (x, w1) d = Conv {DEPTHWISE} (c, w2) e = Conv (d, w3) "
        "f = Conv (e, w4) h = Conv <group = 10> (f, w5) y = Conv (h, w6)"
    )
    weights = "float[6,4,1,1] w1, float[6,1,3,3] w2, float[5,6,1,1] w3, float[10,5,1,1] w4, float[10,1,3,3] w5"
    graph = random_layers(body, weights + ", float[2,10,1,1] w6")
    ctx = check_pass(TO_4, graph)
    assert len(ctx.rewrites) == 2
    assert shapes(graph)[3:] == [(12, 5, 1, 1), (12, 1, 3, 3), (2, 12, 1, 1)]


def test_the_limit_stops_it_between_two() -> None:
    body = (
        f"c = Conv (x, w1) d = Conv {DEPTHWISE} (c, w2) e = Conv (d, w3) f = Conv {DEPTHWISE} (e, w2) y = Conv (f, w3)"
    )
    graph = random_layers(body, "float[6,4,1,1] w1, float[6,1,3,3] w2, float[6,6,1,1] w3")
    run_pass(TO_4, graph, limit=1)
    assert shapes(graph) == [(8, 4, 1, 1), (8, 1, 3, 3), (6, 8, 1, 1), (6, 1, 3, 3), (6, 6, 1, 1)]
    check_pass(TO_4, graph)
    assert shapes(graph)[2:] == [(8, 8, 1, 1), (8, 1, 3, 3), (6, 8, 1, 1)]


def test_weights_in_constant_nodes_and_declared_shapes() -> None:
    text = """
        <ir_version: 3, opset_import: ["" : 11]>
        g (float[1,1,2,2] x, float[3,1,1,1] scale) => (float[1,1,2,2] y)
        <float[3,1,1,1] scale = {4, 5, 6}, float[1,3,2,2] c>
        {
            expand = Constant <value = float[3,1,1,1] {1, 2, 3}> ()
            c = Conv (x, expand)
            d = Conv <group = 3> (c, scale)
            project = Constant <value = float[1,3,1,1] {7, 8, 9}> ()
            y = Conv (d, project)
        }
    """
    graph = parse(text)
    check_pass(TO_4, graph, {"x": np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)})
    assert ops(graph) == ["Conv", "Conv", "Conv"]
    assert graph.nodes[0].outputs[0].shape == [1, 4, 2, 2]


@pytest.mark.parametrize("size", [1, 5])
def test_symbolic_sizes(size: int) -> None:
    graph = block(first="r = HardSigmoid (c)", second="s = HardSwish (d)", data="float[n,4,h,w] x")
    check_pass(TO_4, graph, {"x": np.random.default_rng(size).normal(size=(size, 4, 3 * size, 7)).astype(np.float32)})


def test_other_scopes_are_left_alone() -> None:
    graph = random_layers(
        f"""y = If (f) <
            then_branch = t () => (float[n,c,h,w] u) {{
                c = Conv (x, w1) d = Conv {DEPTHWISE} (c, w2) u = Conv (d, w3)
            }},
            else_branch = e () => (float[n,c,h,w] v) {{ v = Conv (x, w4) }}
        >""",
        "float[6,4,1,1] w1, float[6,1,3,3] w2, float[5,6,1,1] w3, float[5,4,1,1] w4",
        data="float[2,4,7,6] x, bool f",
    )
    before = ir.to_text(graph)
    changed, _ = run_pass(TO_4, graph)
    assert not changed and ir.to_text(graph) == before


# --- refusals


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("r = Softmax <axis = 1> (c)", "Softmax .* not known to keep channels apart"),
        ("r = ReduceMean <axes = [1], keepdims = 1> (c)", "ReduceMean .* not known to keep channels apart"),
        ("r = ReduceMean <axes = [2], keepdims = 0> (c)", "ReduceMean .* not known to keep channels apart"),
        ("r = Div (one, c)", "Div .* not known to keep channels apart"),
        ("z = Conv (x, w1) r = Add (c, z)", "adds another branch"),
        ("a = Add (x, one) k = Conv (a, w6) r = Mul (c, k)", "Conv .* has 1 channels there"),
        ("r = Mul (c, plane)", "neither one number nor one for each channel"),
        ("r = Mul (c, flexible)", "'flexible' is an input of the graph"),
        ("r = Add (c, far)", "put 20000 into added channels"),
        ("r = Clip (c, far)", "put 20000 into added channels"),
        ("r, i = MaxPool <kernel_shape = [1, 1]> (c) z = Cast <to = 1> (i)", "more than one output|not known"),
        ("r = Conv <group = 2> (c, w5)", "has 2 groups and is not depthwise"),
        ("r = Exp (c)", "Exp .* not known to keep channels apart"),
    ],
)
def test_what_stops_it(first: str, reason: str) -> None:
    weights = ", float[6,3,1,1] w5, float[1,4,1,1] w6, float[7,6] plane, float one = {1}, float far = {20000}"
    graph = block(first=first, weights=weights, data="float[2,4,7,6] x, float[2,6,7,6] flexible")
    if "ReduceMean" in first or "i = " in first:
        assert_refused(graph, reason)  # it does not run in onnxruntime, or gives out more
    else:
        check_refusal(TO_4, graph, reason)


def assert_refused(graph: ir.Graph, reason: str) -> None:
    """The same where the model is not run."""
    before = ir.to_text(graph)
    changed, ctx = run_pass(TO_4, graph)
    assert not changed and ir.to_text(graph) == before
    assert len(ctx.refusals) == 1
    assert re.search(reason, ctx.refusals[0].what), ctx.refusals


def test_a_region_is_refused_once() -> None:
    graph = block(second=f"e = Conv {DEPTHWISE} (d, w4) s = Exp (e)", weights=", float[6,1,3,3] w4")
    assert_refused(graph, "Exp")


def test_products_that_may_grow_without_end_are_refused() -> None:
    squares = " ".join(f"m{i + 1} = Mul (m{i}, m{i})" for i in range(4))
    graph = block(first=f"m0 = Add (c, ten) {squares} r = Tanh (m4)", weights=", float ten = {10}")
    check_refusal(TO_4, graph, "put 1e.08 into added channels")


def test_graph_inputs_and_outputs_keep_their_channels() -> None:
    weights = "float[4,1,1,1] w, float[5,4,1,1] v"
    graph = random_layers("d = Conv <group = 4> (x, w) y = Conv (d, v)", weights)
    check_refusal(PadChannels(multiple=8), graph, "4 channels are no multiple of 8, but 'x' is an input of the graph")
    graph = random_layers(f"c = Conv (x, w1) y = Conv {DEPTHWISE} (c, w2)", "float[6,4,1,1] w1, float[6,1,3,3] w2")
    check_refusal(TO_4, graph, "'y' is an output of the graph")
    graph = block(outputs="float[n,c,h,w] y, float[n,6,h,w] r")
    check_refusal(TO_4, graph, "'r' is an output of the graph")


def test_weights_have_to_be_constant_and_float32() -> None:
    graph = random_layers(
        f"v = Neg (w1) c = Conv (x, v) d = Conv {DEPTHWISE} (c, w2) y = Conv (d, w3)",
        "float[6,4,1,1] w1, float[6,1,3,3] w2, float[5,6,1,1] w3",
    )
    check_refusal(TO_4, graph, "weight of Conv .* 'v' is not constant")
    graph = random_layers(
        f"c = Conv (x, w1) d = Conv {DEPTHWISE} (c, w2) y = Conv (d, w3)",
        "double[6,4,1,1] w1, double[6,1,3,3] w2, double[5,6,1,1] w3", data="double[1,4,2,2] x",
        outputs="double[n,c,h,w] y",
    )  # fmt: skip
    assert_refused(graph, "'w2' is float64, and only float32 is quantized|'w1' is float64")


def test_readers_in_subgraphs_stop_it() -> None:
    graph = block(
        second="""s = Relu (d)
            z = If (f) <then_branch = t () => (float[n,c,h,w] u) { u = Neg (s) },
                        else_branch = e () => (float[n,c,h,w] v) { v = Abs (s) }>""",
        data="float[2,4,7,6] x, bool f", outputs="float[n,c,h,w] y, float[n,c,h,w] z",
    )  # fmt: skip
    assert_refused(graph, "'s' is read in a subgraph")


def test_growth_has_a_limit() -> None:
    graph = block()
    check_refusal(PadChannels(multiple=16), graph, r"would grow 2.67 times, and growth=2 is the limit")
    check_pass(PadChannels(multiple=16, growth=3), graph)
    assert shapes(graph)[1] == (16, 1, 3, 3)


@pytest.mark.parametrize("options", [{"multiple": 1}, {"growth": 0.5}, {"growth": float("nan")}])
def test_options_that_make_no_sense(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give at least"):
        PadChannels(**options)  # type: ignore[arg-type]


# --- targets


@pytest.mark.parametrize("target", [None, *target_names()])
def test_only_onnxruntime_likes_multiples_of_16(target: str | None) -> None:
    graph = random_layers(
        "c = Conv (x, w1) d = Conv <group = 12> (c, w2) y = Conv (d, w3)",
        "float[12,4,1,1] w1, float[12,1,3,3] w2, float[5,12,1,1] w3",
    )
    changed, ctx = run_pass(PadChannels(), graph, target=target)
    assert changed is (target in (None, "onnx")) and not ctx.refusals
    assert shapes(graph)[1][0] == (16 if changed else 12)


def test_a_target_without_rules_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def rules(target: str | None) -> QuantizationRules:
        return Target.quantization()

    monkeypatch.setattr("onnxopt.passes.pad_channels.quantization_rules", rules)
    with pytest.raises(BadOption):
        rules(None)
    graph = block()
    assert not run_pass(PadChannels(), graph)[0]
    assert run_pass(TO_4, graph)[0]


def test_fitting_channels_are_no_near_match() -> None:
    changed, ctx = run_pass(PadChannels(multiple=3), block())
    assert not changed and not ctx.refusals and not ctx.rewrites


# --- quantized


def test_padded_channels_are_quantized_without_a_word_and_change_nothing() -> None:
    """Ranges and scales of the real channels stay as they were, and so does every output."""
    outputs = []
    for passes in ([Quantize()], [TO_4, Quantize()]):
        graph = block(data="float[1,4,7,6] x")
        feeds = random_feeds(ir.to_proto(graph.copy()))
        data = samples(graph)
        for pass_ in passes:
            _, ctx = run_pass(pass_, graph, data=data)
        assert not ctx.warnings
        model = ir.to_proto(graph)
        onnx.checker.check_model(model, full_check=True)
        scales = [node.inputs[1].read() for node in graph.nodes if node.op == "DequantizeLinear"]
        assert all(np.isfinite(scale).all() and (scale >= np.finfo(np.float32).tiny).all() for scale in scales)
        outputs.append(run(model, feeds)["y"])
    np.testing.assert_array_equal(*outputs)
