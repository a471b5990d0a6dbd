"""`convert-float16`: half the bytes, valid models, few Casts, and float32 where float16 does not hold the values."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from onnxopt import ir
from onnxopt.data import DataSet, inputs_of
from onnxopt.data.dataset import data_set
from onnxopt.errors import BadOption
from onnxopt.ir.element_types import element_types
from onnxopt.passes.convert_float16 import ConvertFloat16
from onnxopt.pipeline.base import Context
from tests.passes.checks import check_golden, check_pass, count_ops, ops, parse, random_feeds, run, run_pass

HEAD = '<ir_version: 8, opset_import: ["": 17]>'
LAYERS = f"""{HEAD}
layers (float[N,3] x) => (float[N,2] y)
<float[3,4] w = {{1,2,3,4,5,6,7,8,9,10,11,12}}, float[4] b = {{1,2,3,4}}, float[4,2] v = {{1,2,3,4,5,6,7,8}}> {{
    h = MatMul(x, w)
    a = Add(h, b)
    r = Softmax(a)
    y = MatMul(r, v)
}}"""
FLOAT16, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def samples(graph: ir.Graph, feeds: Iterable[dict[str, np.ndarray]]) -> DataSet:
    kept = list(feeds)
    return data_set("test", inputs_of(ir.to_proto(graph)), lambda: iter(kept))


def converted(
    text: str, feeds: dict[str, np.ndarray] | None = None, tolerance: float = 2e-3, **options: object
) -> ir.Graph:
    """A model, converted and held to all that the pass promises, with outputs near those in float32."""
    graph = parse(text)
    before = ir.to_proto(graph)
    feeds = feeds or random_feeds(before)
    check_pass(ConvertFloat16(**options), graph, feeds)
    assert_near(before, ir.to_proto(graph), feeds, tolerance)
    return graph


def assert_near(
    before: onnx.ModelProto, after: onnx.ModelProto, feeds: dict[str, np.ndarray], tolerance: float
) -> None:
    expected, found = run(before, feeds), run(after, feeds)
    for name, one in expected.items():
        scale = max(float(np.abs(one).max(initial=0.0)), 1e-6)
        np.testing.assert_allclose(found[name], one, rtol=0, atol=tolerance * scale, err_msg=name)


def in_narrow_arithmetic(graph: ir.Graph, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """The first output by onnx's reference, which rounds after each node; onnxruntime's processor kernels may not."""
    with np.errstate(all="ignore"):
        found: np.ndarray = ReferenceEvaluator(ir.to_proto(graph)).run(None, feeds)[0]
    return found


def dtypes(graph: ir.Graph) -> dict[str, str]:
    """Of every tensor in every scope, as declared, or else as the operators have it."""
    known = element_types(graph)
    found = {}
    for node in ir.every_node(graph):
        for tensor in (*node.inputs, *node.outputs):
            dtype = known.get(tensor) if tensor.dtype is None else tensor.dtype
            if dtype is not None:
                found[tensor.name] = dtype.name
    return found


def test_golden() -> None:
    check_golden(ConvertFloat16(keep=("Softmax",)), parse(LAYERS), "layers, Softmax in float32")


def test_inputs_and_outputs_keep_names_and_types_and_weights_are_halved() -> None:
    graph = converted(LAYERS)
    assert ops(graph) == ["Cast", "MatMul", "Add", "Softmax", "MatMul", "Cast"]
    assert [(t.name, t.dtype) for t in (*graph.inputs, *graph.outputs)] == [("x", np.float32), ("y", np.float32)]
    assert {t.name: t.dtype.name for t in graph.constants} == {"w": "float16", "b": "float16", "v": "float16"}


def test_the_interface_changes_only_when_asked() -> None:
    graph = parse(LAYERS)
    changed, _ = run_pass(ConvertFloat16(keep_io=False), graph)
    assert changed and ops(graph) == ["MatMul", "Add", "Softmax", "MatMul"]
    assert [(t.name, t.dtype) for t in (*graph.inputs, *graph.outputs)] == [("x", np.float16), ("y", np.float16)]
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)
    assert not run_pass(ConvertFloat16(keep_io=False), graph)[0]


def test_outputs_of_kept_nodes_become_narrow_with_their_names() -> None:
    graph = parse(f"{HEAD} m (float[2] x) => (float[2] y) {{ a = Sin(x) y = Exp(a) }}")
    run_pass(ConvertFloat16(keep_io=False, keep=("Exp",)), graph)
    assert ops(graph) == ["Sin", "Cast", "Exp", "Cast"] and graph.outputs[0].name == "y"
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)


@pytest.mark.parametrize("pattern", ["Softmax", "Soft*"])
def test_what_is_kept_is_float32(pattern: str) -> None:
    graph = converted(LAYERS, keep=(pattern,))
    assert ops(graph) == ["Cast", "MatMul", "Add", "Cast", "Softmax", "Cast", "MatMul", "Cast"]


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(BadOption, match="keep=Sofmax matches no node"):
        run_pass(ConvertFloat16(keep=("Sofmax",)), parse(LAYERS))


PLANTED = f"""{HEAD}
planted (float[N,2] x) => (float[N,2] y)
<float[2,2] w = {{1, 0.5, 0.25, 1}}, float f = {{400}}, float g = {{160000}}> {{
    h = MatMul(x, w)
    a = Mul(h, f)
    big = Mul(a, f)
    d = Div(big, g)
    y = MatMul(d, w)
}}"""


def test_what_overflows_on_the_data_stays_float32_and_is_named() -> None:
    graph = parse(PLANTED)
    before, feeds = ir.to_proto(graph), {"x": np.array([[1, 2], [3, -4]], np.float32)}
    _, ctx = run_pass(ConvertFloat16(), graph, data=samples(graph, [feeds]))
    assert_near(before, ir.to_proto(graph), feeds, 2e-3)
    assert np.isfinite(in_narrow_arithmetic(graph, feeds)).all()
    assert any("'big' reaches 4e+05" in line for line in ctx.warnings)
    assert dtypes(graph)["big"] == "float32" and dtypes(graph)["h"] == "float16"
    assert any("stays in float32" in refusal.what for refusal in ctx.refusals)


def test_without_data_it_is_said_that_nobody_looked() -> None:
    graph = parse(PLANTED)
    feeds = {"x": np.array([[1, 2], [3, -4]], np.float32)}
    _, ctx = run_pass(ConvertFloat16(), graph)
    assert any("no calibration data" in line for line in ctx.warnings)
    assert dtypes(graph)["g"] == "float32", "a constant beyond float16 needs no data"
    assert not np.isfinite(in_narrow_arithmetic(graph, feeds)).all()


def test_weights_that_vanish_or_overflow_stay_float32() -> None:
    graph = converted(f"""{HEAD} m (float[N,2] x) => (float[N,2] y)
        <float[2,2] tiny = {{1e-9, 2e-9, 0, 1e-9}}, float[2,2] w = {{1, 2, 3, 4}}, float[2] huge = {{1e9, 0}}> {{
            a = MatMul(x, w) b = MatMul(a, tiny) c = Mul(b, huge) y = MatMul(c, w) }}""")
    found = dtypes(graph)
    assert {found[name] for name in ("tiny", "huge")} == {"float32"} and {found[name] for name in "aw"} == {"float16"}


def test_a_divisor_that_would_become_zero_stays_float32() -> None:
    text = f"""{HEAD} m (float[N,2] x) => (float[N,2] y) <float e = {{1e-10}}> {{
        s = Mul(x, x) p = Add(s, e) y = Div(x, p) }}"""
    feeds = {"x": np.array([[0, 1e-6]], np.float32)}
    graph = parse(text)
    before = ir.to_proto(graph)
    run_pass(ConvertFloat16(), graph, data=samples(graph, [feeds]))
    assert np.isfinite(run(ir.to_proto(graph), feeds)["y"]).all()
    assert_near(before, ir.to_proto(graph), feeds, 2e-3)


def test_a_limit_beyond_float16_is_none() -> None:
    graph = converted(f"""{HEAD} m (float[N,2] x) => (float[N,2] y) <float low = {{0}}, float high = {{3.4e38}}> {{
        s = Sin(x) y = Clip(s, low, high) }}""")
    assert ops(graph) == ["Cast", "Sin", "Clip", "Cast"]


def test_a_weight_that_both_types_read_is_stored_in_both() -> None:
    graph = converted(f"""{HEAD} m (float[N,2] x) => (float[N,2] y) <float[2,2] w = {{1, 2, 3, 4.0004883}}> {{
        a = MatMul(x, w) b = Exp(a) y = Gemm(b, w) }}""", keep=("Gemm",))  # fmt: skip
    assert dtypes(graph)["w"] == "float32" and dtypes(graph)["w_float16"] == "float16"


def test_a_cast_from_integers_is_of_the_type_that_is_wanted() -> None:
    graph = converted(f"""{HEAD} m (int64[N,2] x) => (float[N,2] y) <float[2,2] w = {{1, 2, 3, 4}}> {{
        f = Cast <to = 1> (x) y = MatMul(f, w) }}""")
    assert ops(graph) == ["Cast", "MatMul", "Cast"] and graph.nodes[0].attrs["to"] == FLOAT16


def test_casts_that_the_model_had_go_where_they_do_nothing_now() -> None:
    graph = converted(f"""{HEAD} m (float[N,2] x) => (float[N,2] y) {{
        a = Sin(x) h = Cast <to = 10> (a) t = Tanh(h) f = Cast <to = 1> (t) y = Cos(f) }}""",
        tolerance=4e-3)  # fmt: skip
    assert ops(graph) == ["Cast", "Sin", "Tanh", "Cos", "Cast"]


def test_what_moves_values_between_kept_nodes_stays_between_them() -> None:
    graph = converted(f"""{HEAD} m (float[2,3] x) => (float[3,2] y) {{
        s = Sin(x) a = Exp(s) b = Transpose(a) c = Identity(b) d = Exp(c) y = Cos(d) }}""", keep=("Exp",))  # fmt: skip
    assert ops(graph) == ["Cast", "Sin", "Cast", "Exp", "Transpose", "Identity", "Exp", "Cast", "Cos", "Cast"]


def test_a_model_that_only_moves_values_is_left() -> None:
    check_pass(ConvertFloat16(), parse(f"{HEAD} m (float[2,3] x) => (float[3,2] y) {{ y = Transpose(x) }}"),
               expect_change=False)  # fmt: skip


def test_one_cast_for_all_readers_and_the_output_among_them() -> None:
    graph = converted(f"""{HEAD} m (float[2] x) => (float[2] y, float[2] z) {{
        y = Sin(x) a = Exp(y) b = Exp(y) z = Add(a, b) }}""", keep=("Exp",))  # fmt: skip
    assert ops(graph) == ["Cast", "Sin", "Cast", "Exp", "Cast", "Exp", "Cast", "Add", "Cast"]


def test_scales_of_resize_and_statistics_stay_float32() -> None:
    graph = converted(f"""{HEAD} m (float[1,2,2,2] x) => (float[1,2,4,4] y)
        <float[4] scales = {{1,1,2,2}}, float[2] s = {{1,2}}, float[2] b = {{0,1}}, float[2] mean = {{1e-9,0}},
         float[2] var = {{1e-9,1}}> {{
            n = BatchNormalization(x, s, b, mean, var)
            y = Resize <mode = "linear"> (n, , scales) }}""")
    found = dtypes(graph)
    assert {found[name] for name in ("scales", "mean", "var")} == {"float32"} and found["n"] == "float16"


def test_constants_in_attributes() -> None:
    graph = converted(f"""{HEAD} m (float[2] x, int64[1] shape) => (float[2] y) {{
        c = Constant <value_float = 1.5> () d = Constant <value_floats = [1.0, 2.0]> ()
        e = Constant <value = float[2] {{3, 4}}> () z = ConstantOfShape (shape)
        o = ConstantOfShape <value = float[1] {{5}}> (shape)
        a = Mul(x, c) b = Mul(a, d) f = Mul(b, e) g = Add(f, z) y = Mul(g, o) }}""",
        {"x": np.ones(2, np.float32), "shape": np.array([2])})  # fmt: skip
    assert ops(graph).count("Cast") == 2


@pytest.mark.parametrize("made", ["RandomNormal <shape = [2], seed = 1.0> ()", "RandomUniformLike <seed = 1.0> (x)"])
def test_generators_stay_float32(made: str) -> None:
    graph = parse(f"{HEAD} m (float[2] x) => (float[2] y) {{ r = {made} a = Sin(x) y = Mul(a, r) }}")
    check_pass(ConvertFloat16(), graph)
    assert dtypes(graph)["r"] == "float32"


def test_sizes_that_are_computed_in_floats_stay_exact() -> None:
    feeds = {"x": np.ones((1, 4099), np.float32)}
    graph = converted(f"""{HEAD} m (float[1,N] x) => (float[1,M] y) <float half = {{0.5}}, int64[2] zero = {{0, 0}}> {{
        s = Shape(x) f = Cast <to = 1> (s) h = Mul(f, half) c = Ceil(h) n = Cast <to = 7> (c)
        e = Exp(x) y = Slice(e, zero, n) }}""", feeds)  # fmt: skip
    assert dtypes(graph)["h"] == "float32" and dtypes(graph)["e"] == "float16"


def test_neighbours_of_quantization_are_left() -> None:
    graph = converted(f"""{HEAD} m (float[2] x) => (float[2] y) <float s = {{0.1}}, uint8 z = {{0}}> {{
        e = Exp(x) q = QuantizeLinear(e, s, z) d = DequantizeLinear(q, s, z) r = Relu(d)
        p = QuantizeLinear(r, s, z) o = DequantizeLinear(p, s, z) t = Identity(o) y = Sin(t) }}""", keep=(),
        tolerance=0.1)  # fmt: skip
    assert {dtypes(graph)[name] for name in ("d", "r", "o")} == {"float32"}


def test_branches_and_what_they_read_outside() -> None:
    graph = converted(f"""{HEAD} m (float[2] x, bool c) => (float[2] y) {{
        a = Sin(x)
        o = If (c) <then_branch = t () => (float[2] p) {{ p = Exp(a) }},
                    else_branch = e () => (float[2] q) {{ k = Constant <value = float[2] {{1, 2}}> () q = Add(a, k) }}>
        y = Cos(o) }}""", {"x": np.ones(2, np.float32), "c": np.array(True)})  # fmt: skip
    assert count_ops(graph)["Cast"] == 2 and dtypes(graph)["o"] == "float16"


def test_a_branch_that_gives_out_what_lies_outside_in_its_new_type() -> None:
    graph = converted(f"""{HEAD} m (float[2] x, bool c) => (float[2] y) {{
        a = Sin(x) h = Cast <to = 10> (a)
        o, r = If (c) <then_branch = t () => (float[2] p, float[2] u) {{ p = Cast <to = 1> (h) u = Cast <to = 1> (h) }},
                       else_branch = e () => (float[2] q, float[2] v) {{ q = Exp(a) v = Exp(q) }}>
        s = Cos(o) y = Add(s, r) }}""", {"x": np.ones(2, np.float32), "c": np.array(True)})  # fmt: skip
    assert count_ops(graph) == {"Sin": 1, "Cast": 2, "If": 1, "Identity": 2, "Exp": 2, "Cos": 1, "Add": 1}


def test_a_branch_that_is_kept_has_casts_at_its_border() -> None:
    graph = converted(f"""{HEAD} m (float[2] x, bool c) => (float[2] y) {{
        a = Sin(x)
        o = If (c) <then_branch = t () => (float[2] p) {{ p = Exp(a) }},
                    else_branch = e () => (float[2] q) {{ q = Tanh(a) }}>
        y = Cos(o) }}""", {"x": np.ones(2, np.float32), "c": np.array(True)}, keep=("If",))  # fmt: skip
    assert ops(graph) == ["Cast", "Sin", "Cast", "If", "Cast", "Cos", "Cast"]


LOOP = f"""{HEAD} m (float[2] x, int64 n) => (float[2] y, float[K,2] all) <bool go = {{1}}> {{
    s = Sin(x)
    y, all = Loop (n, go, s) <body = b (int64 i, bool ci, float[2] v) => (bool co, float[2] w, float[2] u) {{
        co = Identity(ci) t = Tanh(v) w = Add(t, s) u = Exp(w) }}> }}"""


def test_loops() -> None:
    graph = converted(LOOP, {"x": np.ones(2, np.float32), "n": np.array(3)})
    assert count_ops(graph)["Cast"] == 3 and dtypes(graph)["v"] == "float16"


def test_a_kept_node_in_a_loop() -> None:
    graph = converted(LOOP, {"x": np.ones(2, np.float32), "n": np.array(3)}, keep=("Tanh",))
    assert count_ops(graph)["Cast"] == 5 and dtypes(graph)["t"] == "float32"


def test_scans() -> None:
    graph = converted(f"""{HEAD} m (float[2] h, float[4,2] x) => (float[2] y, float[4,2] all) {{
        s = Sin(x)
        y, all = Scan <num_scan_inputs = 1, body = b (float[2] v, float[2] e) => (float[2] w, float[2] u) {{
            w = Add(v, e) u = Exp(w) }}> (h, s) }}""", tolerance=5e-3)  # fmt: skip
    assert {dtypes(graph)[name] for name in ("v", "e", "w", "u")} == {"float16"}


def test_values_in_bodies_are_not_seen_which_is_said() -> None:
    graph = parse(LOOP)
    feeds = {"x": np.ones(2, np.float32), "n": np.array(3)}
    _, ctx = run_pass(ConvertFloat16(), graph, data=samples(graph, [feeds]))
    assert any("bodies of If, Loop or Scan" in line for line in ctx.warnings)


def test_calls_of_functions_stay_float32_which_is_said() -> None:
    graph = parse("""<ir_version: 8, opset_import: ["": 17, "own": 1]>
        m (float[2] x) => (float[2] y) { a = Sin(x) b = own.f(a) y = Cos(b) }
        <domain: "own", opset_import: ["": 17]> f (u) => (v) { v = Exp(u) }""")
    ctx = check_pass(ConvertFloat16(), graph)
    assert ops(graph) == ["Cast", "Sin", "Cast", "f", "Cos"]
    assert any("local functions stay in float32" in line for line in ctx.warnings)


def test_an_input_that_is_an_output_and_an_output_given_twice() -> None:
    graph = parse(f"{HEAD} m (float[2] x) => (float[2] x, float[2] y, float[2] z) {{ y = Sin(x) z = Exp(y) }}")
    run_pass(ConvertFloat16(), graph)
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)
    assert [tensor.name for tensor in graph.outputs] == ["x", "y", "z"]


def test_value_infos_are_right() -> None:
    model = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(LAYERS))
    graph = ir.from_proto(model)
    run_pass(ConvertFloat16(), graph)
    after = ir.to_proto(graph)
    onnx.checker.check_model(after, full_check=True)
    assert {info.type.tensor_type.elem_type for info in after.graph.value_info} == {FLOAT16}


def test_what_onnxruntime_does_not_survive() -> None:
    text = f"""{HEAD} m (float[2,3,2] x) => (float[3,2,2] y) <float[2,2] w = {{1, 2, 3, 4}}> {{
        s = Sin(x) t = Transpose <perm = [1, 0, 2]> (s) y = MatMul(t, w) }}"""
    assert ops(converted(text)) == ["Cast", "Sin", "Cast", "Transpose", "Cast", "MatMul", "Cast"]
    graph = parse(text)
    run_pass(ConvertFloat16(), graph, target="tensorrt")
    assert ops(graph) == ["Cast", "Sin", "Transpose", "MatMul", "Cast"]


def test_bfloat16() -> None:
    graph = parse(LAYERS)
    run_pass(ConvertFloat16(type="bfloat16"), graph)
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)
    assert dtypes(graph)["h"] == "bfloat16" and not run_pass(ConvertFloat16(type="bfloat16"), graph)[0]
    assert not any(
        "calibration" in line for line in run_pass(ConvertFloat16(type="bfloat16"), parse(LAYERS))[1].warnings
    )


@pytest.mark.parametrize(("type_", "opset"), [("float16", 5), ("bfloat16", 12)])
def test_old_opsets(type_: str, opset: int) -> None:
    graph = parse(f'<ir_version: 8, opset_import: ["": {opset}]> m (float[2] x) => (float[2] y) {{ y = Exp(x) }}')
    if type_ == "bfloat16":
        check_pass(ConvertFloat16(type="bfloat16"), graph, expect_change=False)
    else:
        with pytest.raises(BadOption, match=r"convert-opset\{opset=6\}"):
            run_pass(ConvertFloat16(), graph)


def test_the_limit_on_rewrites_is_kept() -> None:
    for limit in range(5):
        graph = parse(LAYERS)
        before, feeds = ir.to_proto(graph), random_feeds(ir.to_proto(graph))
        ctx = Context(current="convert-float16", limit=limit)
        ConvertFloat16().run(graph, ctx)
        assert len(ctx.rewrites) == min(limit, 4)
        onnx.checker.check_model(ir.to_proto(graph), full_check=True)
        assert_near(before, ir.to_proto(graph), feeds, 2e-3)


def test_large_weights_are_converted_when_they_are_read() -> None:
    weight = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    graph = parse(LAYERS)
    constant = next(c for c in graph.constants if c.name == "w")
    constant.to_constant(weight)
    run_pass(ConvertFloat16(), graph)
    assert not isinstance(constant._values, np.ndarray)
    np.testing.assert_array_equal(constant.read(), weight.astype(np.float16))
    assert constant.nbytes == weight.nbytes // 2 and ir.to_proto(graph).graph.initializer[0].data_type == FLOAT16


@pytest.mark.parametrize(("name", "decibels"), [("digits_mobilenet", 55), ("tinybeauty", 65)])
def test_trained_models(name: str, decibels: float) -> None:
    folder = Path(__file__).parents[2] / "fixtures" / name
    graph = ir.load(folder / f"{name}.onnx")
    before = ir.to_proto(graph)
    (spec,) = inputs_of(before)
    feeds = {spec.name: np.load(folder / "test.npz")[spec.name][:2].astype(np.float32)}
    changed, _ = run_pass(ConvertFloat16(), graph, data=samples(graph, [feeds]))
    after = ir.to_proto(graph)
    onnx.checker.check_model(after, full_check=True)
    assert changed and after.ByteSize() < 0.65 * before.ByteSize() and count_ops(graph)["Cast"] == 2
    for name_, one in run(before, feeds).items():
        noise = np.square(run(after, feeds)[name_] - one).sum()
        assert 10 * np.log10(np.square(one).sum() / noise) > decibels
