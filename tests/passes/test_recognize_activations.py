"""`recognize-activations`: what exporters spell out becomes one operator, and computes the same."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.ir.pattern import rewrite
from onnxopt.passes.recognize_activations import RULES, RecognizeActivations
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.dialect import Composite, Dialect
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run, run_pass

RECOGNIZE = RecognizeActivations()
RNG = np.random.default_rng(0)
VALUES = (
    np.concatenate([RNG.normal(size=42) * 3, [0.0, 3.0, -3.0, 6.0, 20.0, -20.0]]).astype(np.float32).reshape(2, 4, 6)
)
ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 1e-40] * 6, np.float32).reshape(2, 4, 6)

SIX = "float three = {3}, float zero = {0}, float six = {6}, float sixth = {0.16666667}"


@pytest.fixture(autouse=True)
def likes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "dialect", Dialect((*get_args(Composite), "Softplus")))  # type: ignore[arg-type]


def model(body: str, weights: str = "", opset: int = 17, dtype: str = "float", shape: str = "n,4,6") -> ir.Graph:
    graph = parse(f"""
        <ir_version: 10, opset_import: ["" : {opset}]>
        g (float[{shape}] x) => (float[{shape}] y) <{weights}> {{ {body} }}
    """)
    if dtype != "float":
        kind = np.dtype(dtype)
        for constant in graph.constants:
            if constant.dtype == np.float32:
                constant.values = constant.read().astype(kind)
        for tensor in (*graph.inputs, *graph.outputs):
            tensor.dtype, tensor.info = kind, None  # type: ignore[union-attr]
    return graph


GELU = "float r = {1.4142135}, float q = {0.70710678}, float one = {1}, float half = {0.5}, float two = {2}"
TANH = (
    "float c = {0.044715}, float k = {0.7978846}, float one = {1}, float half = {0.5}, float three = {3}, "
    "float two = {2}"
)
SOFTMAX = "int64[1] axes = {-1}, int64[1] first = {1}"
SPELLED = [
    # Relu, Clip
    ("y = Max (x, zero)", "float zero = {0}", 17, ["Relu"]),
    ("y = Max (zero, x)", "float zero = {0}", 8, ["Relu"]),
    ("a = Max (x, low) y = Min (a, high)", "float low = {-1}, float high = {2}", 17, ["Clip"]),
    ("a = Max (low, x) y = Min (high, a)", "float[1] low = {-1}, float[1,1] high = {2}", 17, ["Clip"]),
    ("a = Min (x, high) y = Max (a, low)", "float low = {-1}, float high = {2}", 17, ["Clip"]),
    ("a = Min (x, high) y = Max (a, low)", "float low = {-1}, float high = {2}", 9, ["Clip"]),
    ("a = Relu (x) y = Min (a, six)", "float six = {6}", 17, ["Clip"]),
    ("a = Max (x, zero) y = Min (a, six)", "float zero = {0}, float six = {6}", 17, ["Clip"]),
    # LeakyRelu, PRelu
    ("a = Mul (x, k) y = Max (a, x)", "float k = {0.2}", 17, ["LeakyRelu"]),
    ("g = Greater (x, z) a = Mul (k, x) y = Where (g, x, a)", "float k = {0.2}, float z = {0}", 17, ["LeakyRelu"]),
    ("g = Less (x, z) a = Mul (k, x) y = Where (g, a, x)", "float k = {-1.5}, float z = {0}", 17, ["LeakyRelu"]),
    ("g = GreaterOrEqual (x, z) a = Mul (k, x) y = Where (g, x, a)", "float k = {2}, float z = {0}", 17, ["LeakyRelu"]),
    ("p = Relu (x) m = Neg (x) n = Relu (m) "
     "q = Mul (k, n) y = Add (p, q)", "float[1,6] k = {1, 2, 3, 4, 5, -6}", 17, ["PRelu"]),
    ("p = Relu (x) m = Neg (x) n = Relu (m) "
     "q = Mul (n, k) y = Sub (p, q)", "float[6] k = {1, 2, 3, 4, 5, -6}", 9, ["PRelu"]),
    # HardSigmoid, HardSwish
    ("a = Add (x, three) c = Clip (a, zero, six) y = Div (c, six)", SIX, 17, ["HardSigmoid"]),
    ("a = Add (three, x) c = Clip (a, zero, six) y = Mul (sixth, c)", SIX, 17, ["HardSigmoid"]),
    ("a = Add (x, three) c = Clip <min = 0.0, max = 6.0> (a) y = Div (c, six)", SIX, 10, ["HardSigmoid"]),
    ("a = Add (x, three) r = Relu (a) c = Min (r, six) y = Div (c, six)", SIX, 17, ["HardSigmoid"]),
    ("a = Add (x, zero) c = Clip (a, zero, three) y = Div (c, three)", SIX, 17, ["HardSigmoid"]),
    ("m = Mul (x, k) a = Add (m, h) "
     "y = Clip (a, z, o)", "float k = {0.2}, float h = {0.5}, float z = {0}, float o = {1}", 17, ["HardSigmoid"]),
    ("m = Div (x, k) a = Add (h, m) "
     "y = Clip (a, z, o)", "float k = {-4}, float h = {0.5}, float z = {0}, float o = {1}", 17, ["HardSigmoid"]),
    ("a = Add (x, three) c = Clip (a, zero, six) d = Div (c, six) y = Mul (x, d)", SIX, 17, ["HardSwish"]),
    ("a = Add (x, three) c = Clip (a, zero, six) d = Mul (x, c) y = Div (d, six)", SIX, 17, ["HardSwish"]),
    ("a = Add (x, three) c = Clip (a, zero, six) d = Mul (c, x) y = Mul (sixth, d)", SIX, 17, ["HardSwish"]),
    ("a = Add (x, three) c = Clip (a, zero, six) d = Mul (sixth, x) y = Mul (c, d)", SIX, 17, ["HardSwish"]),
    ("a = Add (x, three) c = Clip (a, zero, six) d = Div (x, six) y = Mul (d, c)", SIX, 17, ["HardSwish"]),
    ("a = Add (x, three) r = Relu (a) c = Min (r, six) d = Mul (x, c) y = Div (d, six)", SIX, 17, ["HardSwish"]),
    ("h = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x) y = Mul (x, h)", "", 14, ["HardSwish"]),
    ("h = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x) y = Mul (h, x)", "", 22, ["HardSwish"]),
    ("a = Add (x, three) c = Clip (a, zero, six) d = Mul (x, c) y = Div (d, six)", SIX, 13, ["HardSigmoid", "Mul"]),
    # Sigmoid, Softplus, Mish, Swish
    ("n = Neg (x) e = Exp (n) a = Add (one, e) y = Div (one, a)", "float one = {1}", 17, ["Sigmoid"]),
    ("n = Neg (x) e = Exp (n) a = Add (one, e) y = Reciprocal (a)", "float one = {1}", 17, ["Sigmoid"]),
    ("n = Neg (x) e = Exp (n) a = Add (one, e) y = Div (x, a)", "float one = {1}", 17, ["Sigmoid", "Mul"]),
    ("e = Exp (x) a = Add (e, one) y = Log (a)", "float one = {1}", 17, ["Softplus"]),
    ("b = Abs (x) n = Neg (b) e = Exp (n) a = Add (e, one) "
     "l = Log (a) r = Relu (x) y = Add (l, r)", "float one = {1}", 17, ["Softplus"]),
    ("s = Softplus (x) t = Tanh (s) y = Mul (t, x)", "", 18, ["Mish"]),
    ("e = Exp (x) a = Add (e, one) s = Log (a) t = Tanh (s) y = Mul (t, x)", "float one = {1}", 22, ["Mish"]),
    ("s = Sigmoid (x) y = Mul (x, s)", "", 24, ["Swish"]),
    ("m = Mul (k, x) s = Sigmoid (m) y = Mul (s, x)", "float k = {1.702}", 24, ["Swish"]),
    ("n = Neg (x) e = Exp (n) a = Add (one, e) y = Div (x, a)", "float one = {1}", 24, ["Swish"]),
    # Gelu
    ("d = Div (x, r) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)", GELU, 20, ["Gelu"]),
    ("d = Mul (x, q) e = Erf (d) a = Add (e, one) h = Mul (x, half) y = Mul (h, a)", GELU, 20, ["Gelu"]),
    ("d = Div (x, r) e = Erf (d) a = Add (one, e) h = Mul (a, half) y = Mul (x, h)", GELU, 20, ["Gelu"]),
    ("d = Div (x, r) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Div (m, two)", GELU, 20, ["Gelu"]),
    ("p = Pow (x, three) d = Mul (p, c) b = Add (x, d) t = Mul (b, k) e = Tanh (t) "
     "a = Add (e, one) h = Mul (x, half) y = Mul (h, a)", TANH, 20, ["Gelu"]),
    ("s = Mul (x, x) p = Mul (x, s) d = Mul (c, p) b = Add (d, x) t = Mul (k, b) "
     "e = Tanh (t) a = Add (one, e) m = Mul (x, a) y = Mul (half, m)", TANH, 20, ["Gelu"]),
    ("v = Mul (x, k) w = Mul (x, c) u = Mul (w, x) b = Add (u, one) t = Mul (v, b) "
     "e = Tanh (t) a = Add (e, one) h = Mul (x, half) y = Mul (h, a)", TANH, 20, ["Gelu"]),
    # Softmax
    ("m = ReduceMax <axes = [-1]> (x) d = Sub (x, m) e = Exp (d) "
     "s = ReduceSum (e, axes) y = Div (e, s)", SOFTMAX, 17, ["Softmax"]),
    ("m = ReduceMax (x, first) d = Sub (x, m) e = Exp (d) "
     "s = ReduceSum (e, first) y = Div (e, s)", SOFTMAX, 18, ["Softmax"]),
    ("m = ReduceMax (x, first) d = Sub (x, m) e = Exp (d) s = ReduceSum (e, first) "
     "r = Reciprocal (s) y = Mul (e, r)", SOFTMAX, 18, ["Softmax"]),
    ("m = ReduceMax (x, axes) d = Sub (x, m) e = Exp (d) s = ReduceSum (e, axes) "
     "l = Log (s) y = Sub (d, l)", SOFTMAX, 18, ["LogSoftmax"]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "weights", "opset", "after"), SPELLED)
def test_spelled_out(body: str, weights: str, opset: int, after: list[str]) -> None:
    graph = model(body, weights, opset)
    check_pass(RECOGNIZE, graph, {"x": VALUES})
    assert ops(graph) == after


@pytest.mark.parametrize(("body", "weights", "opset", "after"), SPELLED)
def test_nan_and_infinity_come_out_as_before(body: str, weights: str, opset: int, after: list[str]) -> None:
    """Where the spelling overflows on the way, the operator gives the number that is meant."""
    graph = model(body, weights, opset)
    before = run(ir.to_proto(graph.copy()), {"x": ODD})["y"]
    run_pass(RECOGNIZE, graph)
    found = run(ir.to_proto(graph), {"x": ODD})["y"]
    if "Softmax" in after[0]:  # rows of which are all NaN
        np.testing.assert_array_equal(np.isnan(before), np.isnan(found))
        return
    overflown = (np.abs(ODD) > 1e38) & np.isfinite(ODD)
    np.testing.assert_allclose(found[~overflown], before[~overflown], rtol=1e-6, atol=1e-6)
    exact = overflown & np.isfinite(before)
    np.testing.assert_allclose(found[exact], before[exact], rtol=1e-5)
    assert not np.isnan(found[overflown]).any()


@pytest.mark.parametrize(
    ("body", "weights", "opset", "after"), [case for case in SPELLED if case[2] >= 13 and case[3] != ["Mish"]]
)
def test_float16(body: str, weights: str, opset: int, after: list[str]) -> None:
    """The types come from the constants and the inputs; results agree to the precision of the type."""
    graph = model(body, weights, opset, "float16")
    ir.infer_shapes(graph)
    x = np.clip(VALUES, -8, 8).astype(np.float16)
    before = run(ir.to_proto(graph.copy()), {"x": x})["y"].astype(np.float64)
    run_pass(RECOGNIZE, graph)
    assert ops(graph) == after
    np.testing.assert_allclose(run(ir.to_proto(graph), {"x": x})["y"], before, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize(
    ("body", "weights", "opset", "reason"),
    [
        ("a = Add (x, three) c = Clip (a, zero, six) y = Div (c, three)", SIX, 17, "clips to 0.0 and 6.0"),
        ("a = Add (x, three) c = Clip (a, three, six) d = Mul (x, c) y = Div (d, six)", SIX, 17, "clip to 0 and 6"),
        ("a = Max (x, high) y = Min (a, low)", "float low = {-1}, float high = {2}", 17, "the bounds 2 and -1 cross"),
        ("a = Mul (x, k) y = Max (x, a)", "float k = {1.5}", 17, "the slope 1.5 is not"),
        ("a = Mul (x, k) y = Max (x, a)", "float k = {0}", 17, "the slope 0 is not"),
        ("d = Div (x, r) e = Erf (d) a = Add (e, one) "
         "m = Mul (x, a) y = Mul (m, half)", GELU.replace("0.5", "0.25"), 20,
         "'half' is 0.25, where 0.5 is expected"),
        ("d = Div (x, r) e = Erf (d) a = Add (e, one) "
         "m = Mul (x, a) y = Mul (m, half)", GELU.replace("1.4142135", "1.414"),
         20, "'r' is 1.41[34].*, where 1.41421 is expected"),
        ("m = ReduceMax <axes = [1]> (x) d = Sub (x, m) e = Exp (d) "
         "s = ReduceSum (e, axes) y = Div (e, s)", SOFTMAX, 17,
         "over axes .1. and the sum over .-1."),
        ("e = Exp (x) s = ReduceSum (e, axes) y = Div (e, s)", SOFTMAX, 17, "'x' is an input, where Sub is expected"),
        ("p = Relu (x) m = Neg (x) n = Relu (m) "
         "q = Mul (k, n) y = Add (p, q)", "float[1,1,1,1,6] k = {1, 2, 3, 4, 5, 6}",
         17, "not certain to broadcast"),
        ("h = HardSigmoid <alpha = 0.2, beta = 0.5> (x) y = Mul (x, h)", "", 17, "attribute 'alpha' .* is 0.2"),
    ],
)  # fmt: skip
def test_near_matches_are_refused_with_a_reason(body: str, weights: str, opset: int, reason: str) -> None:
    graph = model(body, weights, opset)
    if "1,1,1,1,6" in weights:
        graph.outputs[0].shape = [1, 1, "n", 4, 6]  # type: ignore[union-attr]
    check_refusal(RECOGNIZE, graph, reason)


def test_float64_has_no_hard_swish_everywhere() -> None:
    graph = model("a = Add (x, three) c = Clip (a, zero, six) d = Mul (x, c) y = Div (d, six)", SIX, 17, "float64")
    before = ir.to_text(graph)
    _, ctx = run_pass(RECOGNIZE, graph)
    assert any("is float64" in refusal.what for refusal in ctx.refusals) and ir.to_text(graph) == before


def test_mish_of_float16_needs_opset_22() -> None:
    graph = model("s = Softplus (x) t = Tanh (s) y = Mul (t, x)", "", 18, "float16")
    changed, ctx = run_pass(RECOGNIZE, graph)
    assert not changed and "overflows, below opset 22" in ctx.refusals[0].what


def test_a_target_is_asked_which_operators_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "dialect", Dialect())
    for body, weights, opset, after in SPELLED:
        if after[0] in (*get_args(Composite), "LogSoftmax", "Softplus"):
            graph = model(body, weights, opset)
            run_pass(RECOGNIZE, graph)
            assert (
                not set(ops(graph)) & {*get_args(Composite), "LogSoftmax"}
                or "= Softplus" in body
                or "HardSigmoid <" in body
            )


def test_without_hard_swish_there_is_hard_sigmoid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "dialect", Dialect(("HardSigmoid",)))
    graph = model("a = Add (x, three) c = Clip (a, zero, six) d = Mul (x, c) y = Div (d, six)", SIX)
    check_pass(RECOGNIZE, graph, {"x": VALUES})
    assert ops(graph) == ["HardSigmoid", "Mul"]


def test_functions_and_subgraphs() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]> g (float[2,3] x, bool c) => (float[2,3] y) {
            z = local.hard_swish (x)
            y = If (c) <
                then_branch = t () => (float[2,3] p) { a = Constant <value = float {0}> () p = Max (z, a) },
                else_branch = e () => (float[2,3] q) { q = Neg (z) }
            >
        }
        <domain: "local", opset_import: ["" : 17]> hard_swish (v) => (w) {
            three = Constant <value = float {3}> ()
            zero = Constant <value = float {0}> ()
            six = Constant <value = float {6}> ()
            a = Add (v, three)
            b = Clip (a, zero, six)
            c = Mul (v, b)
            w = Div (c, six)
        }
    """)
    check_pass(RECOGNIZE, graph, {"x": VALUES[0, :2, :3], "c": np.array(True)})
    assert [node.op for node in ir.every_node(graph)] == ["hard_swish", "If", "Relu", "Neg", "HardSwish"]


def test_symbolic_dimensions_at_two_bindings() -> None:
    body = "a = Add (x, three) c = Clip (a, zero, six) d = Mul (x, c) y = Div (d, six)"
    for size in (1, 5):
        graph = model(body, SIX, shape="n,m")
        check_pass(RECOGNIZE, graph, {"x": RNG.normal(size=(size, size + 1)).astype(np.float32)})


@pytest.mark.parametrize(
    ("body", "outputs", "reason"),
    [
        ("a = Add (x, three) c = Clip (a, zero, six) "
         "d = Mul (x, c) y = Div (d, six)", "float[n] y, float[n] c", "'c' is a graph output"),
        ("a = Add (x, three) c = Clip (a, zero, six) d = Mul (x, c) "
         "y = Div (d, six) z = Neg (d)", "float[n] y, float[n] z", "'d' is read 1 times"),
    ],
)  # fmt: skip
def test_intermediate_results_that_others_need(body: str, outputs: str, reason: str) -> None:
    graph = parse(f"""
        <ir_version: 10, opset_import: ["" : 17]> g (float[n] x) => ({outputs}) <{SIX}> {{ {body} }}
    """)
    check_refusal(RECOGNIZE, graph, reason)


def test_numbers_that_the_caller_may_override() -> None:
    graph = parse(f"""
        <ir_version: 10, opset_import: ["" : 17]> g (float[n] x, float six) => (float[n] y) <{SIX}>
        {{ a = Add (x, three) c = Clip (a, zero, six) d = Mul (x, c) y = Div (d, six) }}
    """)
    check_refusal(RECOGNIZE, graph, "'six' may be overridden by the caller")


def test_two_thousand_blocks_cost_ten_times_two_hundred() -> None:
    steps = []
    for count in (200, 2000):
        body, value = [], "x"
        for k in range(count):
            body.append(f"a{k} = Add ({value}, three) c{k} = Clip (a{k}, zero, six) d{k} = Mul ({value}, c{k})")
            body.append(f"v{k} = Div (d{k}, six)")
            value = f"v{k}"
        graph = model(" ".join(body) + f" y = Neg ({value})", SIX)
        outcome = rewrite(graph, RULES, Context())
        assert outcome.applied == count and ops(graph)[:count] == ["HardSwish"] * count
        steps.append(outcome.steps)
    assert steps[1] <= 10 * steps[0]


def test_golden() -> None:
    body = "a = Add (x, three) c = Clip (a, zero, six) d = Mul (x, c) y = Div (d, six)"
    check_golden(RECOGNIZE, model(body, SIX), "hard-swish")
    body = "d = Div (x, r) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)"
    check_golden(RECOGNIZE, model(body, GELU, 20), "gelu")


@pytest.mark.parametrize("opset", [16, 19, 23])
@pytest.mark.parametrize(
    "body",
    [
        "n = Neg (x) r = Relu (n) m = Mul (r, s) p = Relu (x) y = Sub (p, m)",
        "m = Mul (x, s) y = Max (x, m)",
        "c = Greater (x, zero) m = Mul (x, s) y = Where (c, x, m)",
    ],
)
def test_float64_has_no_leaky_relu_and_no_prelu_everywhere(body: str, opset: int) -> None:
    graph = model(body, "float s = {0.25}, float zero = {0}", opset, "float64")
    check_refusal(RECOGNIZE, graph, "is float64, in which not every runtime has the operator")


@pytest.mark.parametrize(("alpha", "exact"), [(0.1, False), (1.75, True)])
def test_a_slope_of_float64_has_to_be_one_of_float32(alpha: float, exact: bool) -> None:
    graph = model("m = Mul (x, a) s = Sigmoid (m) y = Mul (x, s)", "float a = {1}", 24, "float64")
    graph.constants[0].values = np.array(alpha)
    if exact:
        check_pass(RECOGNIZE, graph)
        assert ops(graph) == ["Swish"]
    else:
        check_refusal(RECOGNIZE, graph, "the slope 'a' is not exact in float32")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("opset", [13, 18, 19, 24])
def test_onnxruntime_has_what_is_recognized(opset: int, dtype: str) -> None:
    """Where it has the spelling, in whatever opset and type, so it has what stands for it."""
    loaded = 0
    for body, weights, *_ in SPELLED:
        try:
            graph = model(body, weights, opset, dtype)
            run(ir.to_proto(graph.copy()), {"x": VALUES.astype(dtype)})
        except Exception:  # noqa: BLE001  a spelling of other opsets, or of other types
            continue
        loaded += 1
        run_pass(RECOGNIZE, graph)
        run(ir.to_proto(graph), {"x": VALUES.astype(dtype)})
    assert loaded > 10
