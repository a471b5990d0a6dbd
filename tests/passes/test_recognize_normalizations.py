"""`recognize-normalizations`: what exporters spell out becomes one operator, and computes the same."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.recognize_normalizations import RecognizeNormalizations
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.dialect import Composite, Dialect
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run, run_pass

RECOGNIZE = RecognizeNormalizations()
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def likes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "dialect", Dialect(get_args(Composite)))


def feed(*shape: int) -> dict[str, np.ndarray]:
    return {"x": (RNG.normal(size=shape) * 2 + 1).astype(np.float32)}


WEIGHTS = """float[4] s = {1, 2, -3, 0.5}, float[1,1,4] wide = {1, 2, 3, 4}, float[4] b = {0.5, 1, 2, 3},
    float two = {2}, float eps = {0.00001}, float one = {1}, int64[1] ax = {-1},
    float half = {-0.5}, float[1] k = {3}"""


def model(body: str, opset: int = 17, shape: str = "n,3,4", weights: str = WEIGHTS) -> ir.Graph:
    return parse(f"""
        <ir_version: 10, opset_import: ["" : {opset}]>
        g (float[{shape}] x) => (float[{shape}] y) <{weights}> {{ {body} }}
    """)


MEAN = "ReduceMean <axes = [-1]> ({})"


def core(mean: str = MEAN, square: str = "Pow (d, two)", end: str = "q = Sqrt (e) n = Div (d, q)") -> str:
    variance = mean.format("p")
    return f"m = {mean.format('x')} d = Sub (x, m) p = {square} v = {variance} e = Add (v, eps) {end} "


MEAN18 = "ReduceMean ({}, ax)"
AFFINE = "t = Mul (n, s) y = Add (t, b)"
LAYER_NORMS = {
    "torch": (core() + AFFINE, 17, 3),
    "torch 18": (core(MEAN18) + AFFINE, 18, 3),
    "commuted": (core() + "t = Mul (s, n) y = Add (b, t)", 17, 3),
    "Mul for the square": (core(square="Mul (d, d)") + AFFINE, 17, 3),
    "the difference twice": (core(square="Pow (d2, two)").replace("p =", "d2 = Sub (x, m) p =") + AFFINE, 17, 3),
    "Reciprocal": (core(end="q = Sqrt (e) r = Reciprocal (q) n = Mul (d, r)") + AFFINE, 17, 3),
    "one by the root": (core(end="q = Sqrt (e) r = Div (one, q) n = Mul (d, r)") + AFFINE, 17, 3),
    "Pow for the root": (core(end="r = Pow (e, half) n = Mul (r, d)") + AFFINE, 17, 3),
    "positive axes": (core("ReduceMean <axes = [2]> ({})") + AFFINE, 17, 3),
    "no bias": (core() + "y = Mul (n, s)", 17, 2),
    "no scale": (core() + "y = Add (n, b)", 17, 3),
    "bare": (core().replace("n =", "y ="), 17, 2),
    "scale with leading ones": (core() + "y = Mul (wide, n)", 17, 2),
    "scale of one number": (core() + "y = Mul (n, k)", 17, 2),
    "moments": (
        core(end="q = Sqrt (e) r = Reciprocal (q) i = Mul (r, s)").replace("p = Pow (d, two)", "p = Mul (d, d)")
        + "f = Mul (x, i) g = Mul (m, i) h = Sub (b, g) y = Add (f, h)", 17, 3),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYER_NORMS)
def test_layer_normalization(case: str) -> None:
    body, opset, inputs = LAYER_NORMS[case]
    graph = model(body, opset)
    check_pass(RECOGNIZE, graph, feed(2, 3, 4))
    assert ops(graph) == ["LayerNormalization"] and len(graph.nodes[0].inputs) == inputs
    assert graph.nodes[0].attrs["axis"] == -1 and graph.nodes[0].attrs["epsilon"] == pytest.approx(1e-5)


def test_layer_normalization_over_two_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "dialect", Dialect(("LayerNormalization",)))
    weights = WEIGHTS + ", float[3,4] s2 = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}"
    graph = model(core("ReduceMean <axes = [-1, -2]> ({})") + "y = Mul (n, s2)", shape="n,2,3,4", weights=weights)
    check_pass(RECOGNIZE, graph, feed(2, 2, 3, 4))
    assert ops(graph) == ["LayerNormalization"] and graph.nodes[0].attrs["axis"] == -2


def test_below_opset_17_there_is_none() -> None:
    graph = model(core() + AFFINE, 16)
    check_pass(RECOGNIZE, graph, feed(2, 3, 4), expect_change=False)


@pytest.mark.parametrize(
    ("body", "shape", "reason"),
    [
        (core("ReduceMean <axes = [1]> ({})") + AFFINE, "n,3,4", "over axes .*-2.* and those are not the last ones"),
        (core().replace("n =", "y ="), "n,3,k", "the last 1 dimensions of 'x' are not certain"),
        (core().replace("e = Add (v, eps)", "f = Abs (eps) e = Add (v, f)") + AFFINE, "n,3,4", "'f' is not constant"),
        (
            core(square="Mul (g, g)").replace("p =", "f = Neg (x) g = Sub (f, m) p =") + AFFINE,
            "n,3,4",
            "it reads 'f' where",
        ),
        (core(end="q = Sqrt (e) n = Div (d, q)").replace("eps", "two") + AFFINE, "n,3,4", "the epsilon 'two' is 2"),
        (core() + "t = Mul (n, s) u = Add (t, b) y = Add (u, d)", "n,3,4", "'d' is read 1 times"),
    ],
)
def test_layer_normalization_refused(body: str, shape: str, reason: str) -> None:
    check_refusal(RECOGNIZE, model(body, shape=shape), reason)


def test_a_scale_along_another_axis_stays_a_mul() -> None:
    weights = WEIGHTS + ", float[3,1] rows = {1, 2, 3}"
    graph = model(core() + "y = Mul (n, rows)", weights=weights)
    ctx = check_pass(RECOGNIZE, graph, feed(2, 3, 4))
    assert ops(graph) == ["LayerNormalization", "Mul"]
    assert "'rows' of shape [3, 1] is not of the shape [4]" in ctx.refusals[0].what


def test_a_residual_connection_is_no_bias() -> None:
    graph = model("c = LayerNormalization (x, s) y = Add (c, x)")
    check_refusal(RECOGNIZE, graph, "'x' of shape .* is not of the shape .4.")


def test_float64_stays() -> None:
    graph = model(core() + AFFINE)
    for constant in graph.constants:
        if constant.dtype == np.float32:
            constant.values = constant.read().astype(np.float64)
    for tensor in (*graph.inputs, *graph.outputs):
        tensor.dtype, tensor.info = np.dtype(np.float64), None  # type: ignore[union-attr]
    changed, ctx = run_pass(RECOGNIZE, graph)
    assert not changed and "is float64" in ctx.refusals[0].what


HALF = """
    <ir_version: 10, opset_import: ["" : {opset}]>
    g (float16[n,3,4] h) => (float16[n,3,4] y) <{weights}> {{ x = Cast <to = 1> (h) {body} }}
"""


@pytest.mark.parametrize(
    ("body", "opset", "name"),
    [
        (core() + "t = Mul (n, s) u = Add (t, b) y = Cast <to = 10> (u)", 17, "LayerNormalization"),
        (core() + "u = Cast <to = 10> (n) t = Mul (u, s16) y = Add (t, b16)", 17, "LayerNormalization"),
        ("p = Pow (x, two) v = ReduceMean (p, ax) e = Add (v, eps) q = Sqrt (e) r = Reciprocal (q) n = Mul (x, r) "
         "u = Cast <to = 10> (n) y = Mul (s16, u)", 23, "RMSNormalization"),
    ],
)  # fmt: skip
def test_half_precision_comes_out_of_its_casts(body: str, opset: int, name: str) -> None:
    weights = WEIGHTS + ", float16[4] s16 = {1, 2, 3, 4}, float16[4] b16 = {1, 2, 3, 4}"
    graph = parse(HALF.format(opset=opset, weights=weights, body=body))
    ir.infer_shapes(graph)
    feeds = {"h": RNG.normal(size=(2, 3, 4)).astype(np.float16)}
    before = run(ir.to_proto(graph.copy()), feeds)["y"].astype(np.float64)
    run_pass(RECOGNIZE, graph)
    assert ops(graph) == [name]
    np.testing.assert_allclose(run(ir.to_proto(graph), feeds)["y"], before, rtol=4e-3, atol=4e-3)


def test_a_scale_that_float16_would_round_keeps_the_casts() -> None:
    weights = WEIGHTS.replace("0.5}", "0.1}", 1)
    graph = parse(HALF.format(opset=17, weights=weights, body=core() + "t = Mul (n, s) y = Cast <to = 10> (t)"))
    ir.infer_shapes(graph)
    _, ctx = run_pass(RECOGNIZE, graph)
    assert ops(graph) == ["Cast", "LayerNormalization", "Cast"]
    assert any("'s' is not exact in float16" in refusal.what for refusal in ctx.refusals)


RMS = "p = {square} v = ReduceMean (p, ax) e = Add (v, eps) q = Sqrt (e) {end} y = Mul (s, n)"


@pytest.mark.parametrize("square", ["Pow (x, two)", "Mul (x, x)"])
@pytest.mark.parametrize(
    "end", ["n = Div (x, q)", "r = Reciprocal (q) n = Mul (x, r)", "r = Div (one, q) n = Mul (r, x)"]
)
def test_rms_normalization(square: str, end: str) -> None:
    graph = model(RMS.format(square=square, end=end), 23)
    check_pass(RECOGNIZE, graph, feed(2, 3, 4))
    assert ops(graph) == ["RMSNormalization"]
    graph = model(RMS.format(square=square, end=end), 22)
    check_pass(RECOGNIZE, graph, feed(2, 3, 4), expect_change=False)


CHANNELS = """float[3,1,1] s = {1, 2, -3}, float[1,3,1,1] b = {0.5, 1, 2}, float two = {2}, float eps = {0.00001},
    float[3] c = {1, 2, 3}"""


def test_instance_normalization() -> None:
    graph = model(core("ReduceMean <axes = [2, 3]> ({})") + AFFINE, shape="n,3,4,5", weights=CHANNELS)
    check_pass(RECOGNIZE, graph, feed(2, 3, 4, 5))
    assert ops(graph) == ["InstanceNormalization"]
    weights = CHANNELS.replace("float[3,1,1] s = {1, 2, -3}", "float[5] s = {1, 2, 3, 4, 5}")
    graph = model(core("ReduceMean <axes = [2, 3]> ({})") + AFFINE, shape="n,3,4,5", weights=weights)
    ctx = check_pass(RECOGNIZE, graph, feed(2, 3, 4, 5))
    assert ops(graph) == ["InstanceNormalization", "Mul", "Add"]
    assert "'s' of shape [5] is not one number for each channel" in ctx.refusals[0].what


GROUPS = """int64[3] to = {0, 2, -1}, float[2] o = {1, 1}, float[2] z = {0, 0}, int64[4] back = {2, 4, 3, 5},
    float[4,1,1] s = {1, 2, 3, 4}, float[1,4,1,1] b = {1, 2, 3, 4}"""
GROUP = "r = Reshape (x, to) i = InstanceNormalization (r, o, z) {0} t = Mul (k, s) y = Add (t, b)"


@pytest.mark.parametrize("end", ["k = Reshape (i, back)", "h = Shape (x) k = Reshape (i, h)"])
def test_group_normalization(end: str) -> None:
    graph = model(GROUP.format(end), 21, "2,4,3,5", GROUPS)
    check_pass(RECOGNIZE, graph, feed(2, 4, 3, 5))
    assert ops(graph) in (["GroupNormalization"], ["Shape", "GroupNormalization"])
    node = graph.nodes[-1]
    assert node.attrs["num_groups"] == 2 and node.inputs[1].shape == node.inputs[2].shape == (4,)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("float[2] o = {1, 1}", "float[2] o = {1, 2}", "'o' is of shape .2., which is not what is expected"),
        ("{2, 4, 3, 5}", "{2, 4, 5, 3}", "not certain to have the shape of 'x'"),
        ("{0, 2, -1}", "{-1, 2, 30}", "is not of the shape .N, 2, -1."),
        (
            "float[4,1,1] s = {1, 2, 3, 4}",
            "float[5] s = {1, 2, 3, 4, 5}",
            "'s' of shape .5. is not one number for each",
        ),
    ],
)
def test_group_normalization_refused(old: str, new: str, reason: str) -> None:
    shape = "2,4,3,5"
    graph = model(GROUP.format("k = Reshape (i, back)"), 21, shape, GROUPS.replace(old, new))
    if "5, 3" in new:
        graph.outputs[0].shape = [2, 4, 5, 3]  # type: ignore[union-attr]
    check_refusal(RECOGNIZE, graph, reason)


def test_group_normalization_18_is_another_operator() -> None:
    graph = model(GROUP.format("k = Reshape (i, back)"), 20, "2,4,3,5", GROUPS)
    check_pass(RECOGNIZE, graph, feed(2, 4, 3, 5), expect_change=False)


@pytest.mark.parametrize(
    ("axes", "shape", "pool"),
    [("[2, 3]", "n,3,4,5", True), ("[-1, -2]", "n,c,4,5", True), ("[2]", "n,3,4", False), ("[-1]", "n,3", False),
     ("[1, 2]", "n,3,4,5", False), ("[2, 3]", "n,3,4,5,6", False)],
)  # fmt: skip
@pytest.mark.parametrize("opset", [17, 18])
def test_global_average_pool(axes: str, shape: str, pool: bool, opset: int) -> None:
    body = (
        f"a = Constant <value_ints = {axes}> () m = ReduceMean (x, a)"
        if opset == 18
        else f"m = ReduceMean <axes = {axes}> (x)"
    )
    graph = model(f"{body} y = Mul (x, m)", opset, shape, "float unused = {1}")
    sizes = [int(dim) if dim.isdigit() else 2 for dim in shape.split(",")]
    check_pass(RECOGNIZE, graph, feed(*sizes), expect_change=pool)
    assert ops(graph) == ["GlobalAveragePool", "Mul"] if pool else "GlobalAveragePool" not in ops(graph)


@pytest.mark.parametrize(
    "body",
    [
        "m = ReduceMean <axes = [2, 3]> (x) y = Mul (x, m)",
        "m = ReduceMean <axes = [2, 3]> (x) d = Sub (x, m) q = Mul (d, d) v = ReduceMean <axes = [2, 3]> (q) "
        "e = Add (v, eps) r = Sqrt (e) y = Div (d, r)",
    ],
)
def test_an_image_that_may_have_no_pixels_is_left(body: str) -> None:
    graph = model(body, 17, "n,3,h,4", "float eps = {0.00001}")
    check_refusal(RECOGNIZE, graph, "'x' may be an image without pixels")
    graph = model(body, 17, "n,3,5,4", "float eps = {0.00001}")
    check_pass(RECOGNIZE, graph, feed(0, 3, 5, 4))


def test_a_mean_that_drops_its_axes_needs_another_node_and_stays() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17]> g (float[n,3,4,4] x) => (float[n,3] y)
        { y = ReduceMean <axes = [2, 3], keepdims = 0> (x) }
    """)
    check_pass(RECOGNIZE, graph, feed(2, 3, 4, 4), expect_change=False)


UNIT = "l = ReduceL2 <axes = [-1]> (x) {} y = Div (x, c)"


@pytest.mark.parametrize(
    "bound", ["c = Clip (l, tiny)", "c = Max (tiny, l)", "f = Clip (l, tiny) h = Shape (x) c = Expand (f, h)"]
)
def test_unit_vectors_where_asked_for(bound: str) -> None:
    weights = "float tiny = {1e-12}"
    check_refusal(RECOGNIZE, model(UNIT.format(bound), weights=weights), "allow it with short-vectors=true")
    graph = model(UNIT.format(bound), weights=weights)
    check_pass(RecognizeNormalizations(short_vectors=True), graph, feed(2, 3, 4))
    assert "LpNormalization" in ops(graph) and "Div" not in ops(graph)


def test_functions_have_no_certain_shapes() -> None:
    graph = parse(f"""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]>
        g (float[n,3,4] v) => (float[n,3,4] w) {{ w = local.norm (v) }}
        <domain: "local", opset_import: ["" : 17]> norm (x) => (n) {{
            two = Constant <value = float {{2}}> ()
            eps = Constant <value = float {{0.00001}}> ()
            {core()}
        }}
    """)
    changed, ctx = run_pass(RECOGNIZE, graph)
    assert not changed and "the shape of 'x' is not certain" in ctx.refusals[0].what


def test_subgraphs() -> None:
    graph = parse(f"""
        <ir_version: 10, opset_import: ["" : 17]> g (float[n,3,4] x, bool c) => (float[n,3,4] z) <{WEIGHTS}> {{
            z = If (c) <
                then_branch = t () => (float[n,3,4] y) {{ {core() + AFFINE} }},
                else_branch = e () => (float[n,3,4] f) {{ f = Neg (x) }}
            >
        }}
    """)
    check_pass(RECOGNIZE, graph, {**feed(2, 3, 4), "c": np.array(True)})
    assert [node.op for node in ir.every_node(graph)] == ["If", "LayerNormalization", "Neg"]


def test_an_intermediate_result_that_is_given_out() -> None:
    graph = parse(f"""
        <ir_version: 10, opset_import: ["" : 17]> g (float[n,3,4] x) => (float[n,3,4] y, float[n,3,1] v) <{WEIGHTS}>
        {{ {core() + AFFINE} }}
    """)
    check_refusal(RECOGNIZE, graph, "'v' is a graph output")


def test_golden() -> None:
    check_golden(RECOGNIZE, model(core() + AFFINE), "layer-normalization")
    check_golden(RECOGNIZE, model(GROUP.format("k = Reshape (i, back)"), 21, "2,4,3,5", GROUPS), "group-normalization")
