"""The checkers: each violation that is planted in a small graph is found and named; clean graphs have none."""

from __future__ import annotations

import re
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest

import onnxopt.quantization.legality
from onnxopt import ir
from onnxopt.quantization.legality import CHECKS, violations

HEAD = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>'

CONV = """
    xq = QuantizeLinear (x, xs, xz)
    xd = DequantizeLinear (xq, xs, xz)
    wd = DequantizeLinear <axis = 0> (w, ws, wz)
    BIAS
    c = Conv (xd, wd, BD)
    r = Relu (c)
    rq = QuantizeLinear (r, rs, rz)
    rd = DequantizeLinear (rq, rs, rz)
    vd = DequantizeLinear <axis = 0> (v, vs, vz)
    y = Conv (rd, vd)
"""
"""Two layers and what is between them; the second one's output stays float."""
INT8 = """float xs = {0.1}, int8 xz = {0}, float[2] ws = {0.01, 0.02}, int8[2] wz = {0, 0}, float[2] b = {1, 2},
    float rs = {0.05}, int8 rz = {0}, float[1] vs = {0.01}, int8[1] vz = {0},"""
UINT8 = """float xs = {0.1}, uint8 xz = {7}, float[2] ws = {0.01, 0.02}, int8[2] wz = {0, 0}, int32[2] b = {1, 2},
    float[2] bs = {0.001, 0.002}, int32[2] bz = {0, 0},
    float rs = {0.05}, uint8 rz = {0}, float[1] vs = {0.01}, int8[1] vz = {0}, float ys = {0.1}, uint8 yz = {9},"""
WEIGHTS = "int8[2, 5, 1, 1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, int8[1, 2, 1, 1] v = {3, -4}"
OUT = "yq = QuantizeLinear (t, ys, yz) y = DequantizeLinear (yq, ys, yz)"

FLOAT_BIAS = CONV.replace("BIAS", "").replace("BD", "b")
INTEGER_BIAS = CONV.replace("BIAS", "bd = DequantizeLinear <axis = 0> (b, bs, bz)").replace("BD", "bd")
CLEAN = {
    "tensorrt": (FLOAT_BIAS, INT8 + WEIGHTS),
    "coreml": (FLOAT_BIAS, INT8 + WEIGHTS),
    "qnn": (INTEGER_BIAS.replace("y = Conv", "t = Conv") + OUT, UINT8 + WEIGHTS),
    "onnx": (INTEGER_BIAS.replace("y = Conv", "t = Conv") + OUT, UINT8 + WEIGHTS),
}
CLEAN["qnn-kit"], CLEAN["coreml-kit"] = CLEAN["qnn"], CLEAN["coreml"]


def model(
    body: str, weights: str, inputs: str = "float[1, 5, 3, 3] x", head: str = HEAD, outputs: str = "float[a, b, c, d] y"
) -> ir.Graph:
    return ir.from_proto(onnx.parser.parse_model(f"{head} g ({inputs}) => ({outputs}) <{weights}> {{ {body} }}"))


def found(target: str, graph: ir.Graph) -> list[str]:
    return [f"{one.node}: {one.reason}" for one in violations(graph, target)]


def require(target: str, graph: ir.Graph, where: str, reason: str) -> None:
    """That very violation is there, with a remedy; and no check stumbles."""
    said = found(target, graph)
    assert any(re.search(f"{where}.*: .*{reason}", line) for line in said), said
    assert all(";" in line or "scales" in line or "same type" in line for line in said), said


@pytest.mark.parametrize("target", CHECKS)
def test_a_clean_graph_breaks_no_rule(target: str) -> None:
    assert found(target, model(*CLEAN[target])) == []


@pytest.mark.parametrize("target", CHECKS)
def test_a_float_graph_breaks_no_rule(target: str) -> None:
    graph = model("c = Conv (x, k) r = Relu (c) y = Add (r, r)", "float[1, 5, 1, 1] k = {1, 2, 3, 4, 5}")
    assert found(target, graph) == []


F, B = FLOAT_BIAS, INTEGER_BIAS
S, U = INT8 + WEIGHTS, UINT8 + WEIGHTS
PLANTED = {
    "int32 bias": ("tensorrt", B, U, "-> bd", "a bias of int32"),
    "int32 bias for Core ML": ("coreml", B, U, "-> bd", "a bias of int32"),
    "uint8": ("tensorrt", F, S.replace("int8 xz = {0}", "uint8 xz = {128}"), "-> xq",
              "activation of uint8.*requantize"),
    "uint8 with zero point 0": ("tensorrt", F, S.replace("int8 rz", "uint8 rz"), "-> rq", "uint8"),
    "non-zero zero point": ("tensorrt", F, S.replace("xz = {0}", "xz = {3}"), "-> xq",
                            "zero point 3 of int8"),
    "asymmetric for Core ML": ("coreml", F, S.replace("xz = {0}", "xz = {3}"), "-> xq",
                               "zero point 3 of int8"),
    "no zero point": ("tensorrt", F.replace("(x, xs, xz)", "(x, xs)").replace("(xq, xs, xz)", "(xq, xs)"),
                      S, "-> xq", "no zero point is written: uint8"),
    "int16": ("tensorrt", F, S.replace("int8 xz", "int16 xz"), "-> xq", "activation of int16"),
    "int16 for Core ML": ("coreml", F, S.replace("int8 xz", "int16 xz"), "-> xq", "int16"),
    "one input only": ("tensorrt", F.replace("(xd, wd, b)", "(x, wd, b)"), S, "-> c",
                       "'x' is not quantized and its other input is"),
    "per-channel activation": ("tensorrt", F.replace("QuantizeLinear (r,", "QuantizeLinear <axis = 1> (r,"),
        S.replace("float rs = {0.05}, int8 rz = {0}", "float[2] rs = {0.05, 1}, int8[2] rz = {0, 0}"),
        "-> rq", "a scale for each channel"),
    "weight axis": ("tensorrt", F.replace("<axis = 0> (w", "<axis = 1> (w"), S.replace(
        "float[2] ws = {0.01, 0.02}, int8[2] wz = {0, 0}",
        "float[5] ws = {1, 1, 1, 1, 2}, int8[5] wz = {0, 0, 0, 0, 0}"), "-> c", "along axis 1.*along axis 0"),
    "weight axis for onnxruntime": ("onnx", F.replace("<axis = 0> (w", "<axis = 1> (w"), S.replace(
        "float[2] ws = {0.01, 0.02}, int8[2] wz = {0, 0}",
        "float[5] ws = {1, 1, 1, 1, 2}, int8[5] wz = {0, 0, 0, 0, 0}"), "-> c", "along axis 1"),
    "Q in the middle": ("tensorrt", F.replace("r = Relu (c)",
        "cq = QuantizeLinear (c, xs, xz) cd = DequantizeLinear (cq, xs, xz) r = Relu (cd)"), S, "-> cq",
        "between Conv and Relu"),
    "two pairs": ("tensorrt", F.replace("y = Conv (rd, vd)", """r2q = QuantizeLinear (r, rs, rz)
        r2d = DequantizeLinear (r2q, rs, rz) y1 = Conv (rd, vd) y2 = Conv (r2d, vd) y = Add (y1, y2)"""), S,
        "-> rq", "'r' is read by 2 QuantizeLinear"),
    "a pair behind a pair": ("tensorrt", F.replace("y = Conv (rd, vd)",
        "pq = QuantizeLinear (rd, xs, xz) pd = DequantizeLinear (pq, xs, xz) y = Conv (pd, vd)"), S, "-> pq",
        "a second time"),
    "two dequantizations": ("tensorrt", F.replace("y = Conv (rd, vd)",
        "r2d = DequantizeLinear (rq, rs, rz) y1 = Conv (rd, vd) y2 = Conv (r2d, vd) y = Add (y1, y2)"), S,
        "-> rd", "'rq' is read by 2 DequantizeLinear"),
    "quantized output": ("tensorrt", F.replace("y = Conv (rd", "t = Conv (rd") + OUT.replace("ys, yz", "xs, xz"),
                         S, "-> y", "rounds an output"),
    "QLinearConv": ("tensorrt", "q = QuantizeLinear (x, xs, xz) c = QLinearConv (q, xs, xz, w, xs, xz, xs, xz) "
                    "y = DequantizeLinear (c, xs, xz)", S, "-> c", "takes no QLinearConv"),
    "DynamicQuantizeLinear": ("coreml", "q, s, z = DynamicQuantizeLinear (x) y = DequantizeLinear (q, s, z)",
                              S, "-> q", "takes no DynamicQuantizeLinear"),
    "a quantized operator of onnxruntime": ("qnn", "y = com.microsoft.QLinearSigmoid (x, xs, xz, xs, xz)",
                                            S, "-> y", "takes no QLinearSigmoid"),
    "a pair of onnxruntime": ("tensorrt",
        "q = com.microsoft.QuantizeLinear (x, xs, xz) y = DequantizeLinear (q, xs, xz)",
                              S, "-> q", "com.microsoft"),
    "integers moved bare": ("qnn", "q = QuantizeLinear (x, rs, rz) t = Transpose (q) y = DequantizeLinear (t, rs, rz)",
                            U, "-> t", "reads the integers of 'q'"),
    "first layer": ("tensorrt", F, S.replace("w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}",
                    "w = {1, 2, 3, 4, 5, 6}").replace("int8[2, 5,", "int8[2, 3,"), "-> c", "input of 3 channels"),
    "symmetric activation": ("qnn", F, S, "-> xq", "silently wrong"),
    "all round the middle": ("qnn", B, U.replace("xz = {7}", "xz = {128}").replace(
        "rz = {0}", "rz = {128}"), "-> rq", "zero point of symmetric ones"),
    "Relu not zero-based": ("qnn", B, U.replace("rz = {0}", "rz = {3}"), "-> rq",
                            "zero point 3 behind Relu"),
    "Clip not zero-based": ("qnn", B.replace("r = Relu (c)", "r = Clip (c, lo, hi)"), (
        UINT8 + "float lo = {0}, float hi = {6}," + WEIGHTS).replace("rz = {0}", "rz = {3}"), "-> rq", "behind Clip"),
    "A16W16": ("qnn", B, U.replace("uint8 xz", "uint16 xz").replace("int8[2] wz", "uint16[2] wz")
               .replace("int8[2, 5", "uint16[2, 5"), "-> c", "16-bit weights"),
    "signed int16 at a Conv": ("qnn", B, U.replace("uint8 xz", "int16 xz"), "-> c",
                               "int16 at a Conv"),
    "an output without encoding": ("qnn", B, U, "-> y", "'y' has no encoding"),
    "an island": ("qnn", B.replace("y = Conv", "u = Conv").replace("(rd, vd)", "(rd, vd) k = Sigmoid (u)") +
                  "t = Mul (k, rd)" + OUT, U, "-> t", "'k' has no encoding"),
    "a float bias": ("qnn", F.replace("y = Conv", "t = Conv") + OUT, U.replace("int32[2] b =", "float[2] b ="),
                     "-> c", "the constant 'b' has no encoding"),
    "zero point of another type": ("onnx", F.replace("(w, ws, wz)", "(w, ws, uz)"),
        INT8 + "uint8[2] uz = {0, 0}," + WEIGHTS, "-> wd", "reads int8 with a zero point of uint8"),
    "fewer zero points than scales": ("onnx", F, S.replace("int8[2] wz = {0, 0}",
        "int8[1] wz = {0}"), "-> wd", "2 scales and 1 zero points"),
    "scales that do not fit": ("onnx", F, S.replace(
        "float[2] ws = {0.01, 0.02}, int8[2] wz = {0, 0}", "float[3] ws = {1, 1, 2}, int8[3] wz = {0, 0, 0}"), "-> wd",
        "3 scales along axis 0"),
    "a scale of 0": ("onnx", F, S.replace("xs = {0.1}", "xs = {0}"), "-> xq", "a scale is 0"),
    "the bias's scale": ("onnx", B, U.replace("bs = {0.001", "bs = {0.0011"), "-> bd",
                         "its scale is 0.0011.*is 0.001:"),
    "the bias's zero point": ("onnx", B, U.replace("bz = {0, 0}", "bz = {0, 5}"), "-> bd",
                              "zero point 5 of a bias"),
    "an int8 bias": ("onnx", B, U.replace("int32[2] b ", "int8[2] b ").replace("int32[2] bz",
                     "int8[2] bz"), "-> bd", "a bias of int8"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANTED)
def test_a_planted_violation_is_found(case: str) -> None:
    target, body, weights, where, reason = PLANTED[case]
    require(target, model(body, weights), where, reason)


def test_a_dequantizer_knows_its_type_without_a_zero_point() -> None:
    assert found("tensorrt", model(F.replace("(w, ws, wz)", "(w, ws)"), S)) == []
    bare = F.replace("QuantizeLinear (x, xs, xz)", "QuantizeLinear <output_dtype = 3> (x, xs)", 1)
    assert found("tensorrt", model(bare, S)) == []


def test_old_opsets() -> None:
    head = '<ir_version: 8, opset_import: ["" : 11]>'
    graph = model(FLOAT_BIAS, INT8 + WEIGHTS, head=head)
    require("onnx", graph, "-> wd", r"scales per channel in opset 11; run convert-opset\{opset=13\}")
    head = '<ir_version: 8, opset_import: ["" : 17]>'
    graph = model(FLOAT_BIAS, (INT8 + WEIGHTS).replace("int8 xz", "uint16 xz"), head=head)
    require("onnx", graph, "-> xq", r"uint16 in opset 17; run convert-opset\{opset=21\}")


PAIRS = """
    aq = QuantizeLinear (a, s, z) ad = DequantizeLinear (aq, s, z)
    bq = QuantizeLinear (b, s2, z) bd = DequantizeLinear (bq, s2, z)
"""
SCALES = (
    "float s = {0.1}, float s2 = {0.2}, int8 z = {0}, int8[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7}"
)
TWO = "float[2, 4] a, float[2, 4] b"


def test_a_concat_of_several_scales() -> None:
    graph = model(PAIRS + "y = Concat <axis = 0> (ad, bd)", SCALES, TWO)
    require("tensorrt", graph, "-> y", "scales 0.1, 0.2 meet")
    graph = model(PAIRS + "y = Concat <axis = 0> (ad, b)", SCALES, TWO)
    require("tensorrt", graph, "-> y", "only some of its inputs")
    graph = model(PAIRS.replace("s2", "s") + "y = Concat <axis = 0> (ad, bd)", SCALES, TWO)
    assert found("tensorrt", graph) == []


LAYER = PAIRS + "wd = DequantizeLinear (w, s, z) m = MatMul (ad, wd) mb = Add (m, k)"
SKIP = "float[4] k = {1, 2, 3, 4}," + SCALES


def test_the_layers_branch_of_a_residual_add_stays_float() -> None:
    layer = "mq = QuantizeLinear (mb, s, z) md = DequantizeLinear (mq, s, z)"
    assert found("tensorrt", model(f"{LAYER} y = Add (mb, bd)", SKIP, TWO)) == []
    require(
        "tensorrt", model(f"{LAYER} {layer} y = Add (md, bd)", SKIP, TWO), "-> y", "both branches .* leave 'mb' float"
    )
    require("tensorrt", model(f"{LAYER} {layer} y = Add (md, b)", SKIP, TWO), "-> y", "'mb', which its layer computes")


def test_a_product_of_one_row() -> None:
    body = LAYER + "u = Add (mb, bd) y = Identity (u)"
    assert found("tensorrt", model(body, SKIP, TWO)) == []
    require("tensorrt", model(body, SKIP, "float[1, 4] a, float[1, 4] b"), "-> m", "multiplies one row")


def test_norms_and_attention_cores_stay_float() -> None:
    graph = model(PAIRS + "y = LayerNormalization (ad, k, k)", SKIP, TWO)
    require("tensorrt", graph, "-> y", "leave LayerNormalization in float")
    graph = model(
        PAIRS + "t = Transpose (b) m = MatMul (ad, t) sc = Mul (m, s) p = Softmax (sc) y = MatMul (p, bd)", SKIP, TWO
    )
    require("tensorrt", graph, "-> m", "product of an attention")
    require("tensorrt", graph, "-> y", "product of an attention")
    graph = model(PAIRS + "t = Transpose (bd) y = MatMul (ad, t)", SKIP, TWO)
    assert found("tensorrt", graph) == []


def test_weights_of_a_norm_per_channel() -> None:
    weights = "int8[4] w = {1, 2, 3, 4}, float[4] ws = {1, 1, 1, 2}, float s = {0.1}, uint8 z = {3}"
    body = """aq = QuantizeLinear (a, s, z) ad = DequantizeLinear (aq, s, z) wd = DequantizeLinear <axis = 0> (w, WS)
        t = LayerNormalization (ad, wd) yq = QuantizeLinear (t, s, z) y = DequantizeLinear (yq, s, z)"""
    require(
        "qnn", model(body.replace("WS", "ws"), weights, "float[2, 4] a"), "-> t", "'wd' has a scale for each channel"
    )
    assert found("qnn", model(body.replace("WS", "s"), weights, "float[2, 4] a")) == []


@pytest.mark.parametrize(
    ("layer", "weight", "axis", "wanted"),
    [
        ("MatMul (ad, wd)", "int8[4, 3] w", 1, 1),
        ("Gemm (ad, wd)", "int8[4, 3] w", 1, 1),
        ("Gemm <transB = 1> (ad, wd)", "int8[3, 4] w", 0, 0),
        ("ConvTranspose (ad, wd)", "int8[4, 3, 1] w", 1, 1),
    ],
)
def test_the_axis_of_the_output_channels(layer: str, weight: str, axis: int, wanted: int) -> None:
    shape = [int(size) for size in re.findall(r"\d+", weight.split("[")[1])]
    values = ", ".join(map(str, range(12)))

    def graph(along: int) -> ir.Graph:
        many = shape[along]
        weights = f"{weight} = {{{values}}}, float s = {{0.1}}, int8 z = {{0}}, "
        weights += f"float[{many}] ws = {{{', '.join(['1'] * many)}}}, int8[{many}] wz = {{{', '.join(['0'] * many)}}}"
        body = f"""aq = QuantizeLinear (a, s, z) ad = DequantizeLinear (aq, s, z)
            wd = DequantizeLinear <axis = {along}> (w, ws, wz) y = {layer}"""
        return model(body, weights, "float[2, 4, 6] a" if "Conv" in layer else "float[2, 4] a")

    assert found("tensorrt", graph(axis)) == []
    require("tensorrt", graph(1 - axis), "-> y", f"quantize along axis {wanted}")


def test_a_weight_behind_a_transpose_has_its_axis_moved() -> None:
    weights = "int8[3, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}, float s = {0.1}, int8 z = {0}, "
    weights += "float[3] ws = {1, 1, 2}, int8[3] wz = {0, 0, 0}"
    body = """aq = QuantizeLinear (a, s, z) ad = DequantizeLinear (aq, s, z)
        wd = DequantizeLinear <axis = 0> (w, ws, wz) t = Transpose <perm = [1, 0]> (wd) y = MatMul (ad, t)"""
    assert found("tensorrt", model(body, weights, "float[2, 4] a")) == []


def test_four_bit_weights_may_stand_alone() -> None:
    graph = model("wd = DequantizeLinear <axis = 0, block_size = 2> (w, ws) y = MatMul (a, wd)",
                  "int4[4, 1] w = {18, 52}, float[2, 1] ws = {0.1, 0.2}", "float[2, 4] a")  # fmt: skip
    assert found("tensorrt", graph) == []
    assert found("onnx", graph) == []


def test_a_scale_that_is_computed() -> None:
    graph = model(
        "q = QuantizeLinear (a, s, z) y = DequantizeLinear (q, s, z)", "int8 z = {0}", "float[2, 4] a, float s"
    )
    require("tensorrt", graph, "-> q", "computed at run time")
    assert found("onnx", graph) == []


def test_scales_by_the_thousand_are_read() -> None:
    body = "wd = DequantizeLinear <axis = 0, block_size = 2> (w, ws, wz) y = MatMul (a, wd)"
    graph = model(body, "", "float[2, 1024] a, int4[1024, 256] w, float[512, 256] ws, int4[512, 256] wz")
    zeros = np.zeros((512, 256), ml_dtypes.int4)
    zeros[-1, -1] = 5
    weights = np.zeros((1024, 256), ml_dtypes.int4), np.ones((512, 256), np.float32), zeros
    (node,) = [node for node in graph.nodes if node.op == "DequantizeLinear"]
    node.inputs[:] = [ir.Constant(f"c{index}", value) for index, value in enumerate(weights)]
    said = found("tensorrt", graph)
    assert [line for line in said if "zero point 5" in line], said
    assert not [line for line in said if "run time" in line]


def test_ranks_that_core_ml_has_no_operation_for() -> None:
    body, weights = "q = QuantizeLinear (a, s, z) y = DequantizeLinear (q, s, z)", "int8 z = {0}, float s = {0.1}"
    require("coreml", model(body, weights, "float[1, 1, 1, 1, 1, 2] a"), "-> q", "rank 6")
    assert found("coreml", model(body, weights, "float[1, 1, 1, 1, 2] a")) == []


def test_bodies_are_checked_too() -> None:
    graph = model("""
        y = If (c) <
            then_branch = t () => (float[2] u) { q = QuantizeLinear (a, s, z) u = DequantizeLinear (q, s, z) },
            else_branch = e () => (float[2] v) { v = Identity (a) }
        >""", "uint8 z = {3}, float s = {0.1}", "float[2] a, bool c")  # fmt: skip
    require("tensorrt", graph, "-> q", "activation of uint8")


X = np.random.default_rng(0).normal(size=(1, 5, 3, 3)).astype(np.float32)
ONE_LAYER = INTEGER_BIAS.split("r = Relu")[0] + OUT.replace("(t,", "(c,")


def kernels(graph: ir.Graph, path: Path) -> list[str]:
    """The operators that onnxruntime makes of a graph."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(path / "optimized.onnx")
    model_ = ir.to_proto(graph).SerializeToString()
    ort.InferenceSession(model_, options, providers=["CPUExecutionProvider"]).run(None, {"x": X})
    return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]


def test_onnxruntime_computes_a_clean_layer_in_integers(tmp_path: Path) -> None:
    graph = model(ONE_LAYER, U)
    assert found("onnx", graph) == []
    assert "QLinearConv" in kernels(graph, tmp_path)


def test_onnxruntime_computes_in_float_where_the_scale_of_the_bias_is_another(tmp_path: Path) -> None:
    graph = model(ONE_LAYER, U.replace("bs = {0.001", "bs = {0.0011"))
    require("onnx", graph, "-> bd", "runs in float")
    assert not violations(graph, "onnx")[0].is_wrong
    assert "QLinearConv" not in kernels(graph, tmp_path)


def test_onnxruntime_fails_where_the_weights_scales_are_along_the_input_channels(tmp_path: Path) -> None:
    one, many = (
        "float[2] ws = {0.01, 0.02}, int8[2] wz = {0, 0}",
        "float[5] ws = {1, 1, 1, 1, 2}, int8[5] wz = {0, 0, 0, 0, 0}",
    )
    body = ONE_LAYER.replace("<axis = 0> (w", "<axis = 1> (w").replace(
        "bd = DequantizeLinear <axis = 0> (b, bs, bz)", ""
    )
    graph = model(body.replace("wd, bd", "wd"), U.replace(one, many))
    require("onnx", graph, "-> c", "fails when it runs; quantize along axis 0")
    assert all(one.is_wrong for one in violations(graph, "onnx"))
    with pytest.raises(Exception, match="QLinearConv"):
        kernels(graph, tmp_path)


def test_the_checkers_know_nothing_of_the_passes_that_quantize() -> None:
    folder = Path(onnxopt.quantization.legality.__file__).parent
    known = {"encoding", "legality"}
    for file in folder.glob("*.py"):
        imported = set(re.findall(r"onnxopt\.quantization\.(\w+)", file.read_text()))
        assert imported <= known, file.name
        assert "onnxopt.pipeline.quantization" not in file.read_text()
