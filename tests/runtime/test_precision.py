"""The coarsest type that a model computes in."""

import pytest
from onnx import parser

from onnxopt.runtime.precision import coarsest_rounding, is_widened


@pytest.mark.parametrize(
    ("graph", "eps"),
    [
        ("g (float[2] x) => (float[2] y) { y = Relu(x) }", 2.0**-23),
        ("g (double[2] x) => (double[2] y) { y = Relu(x) }", 2.0**-52),
        ("g (int64[2] x) => (int64[2] y) { y = Neg(x) }", 0.0),
        ("g (float[2] x) => (float[2] y) { h = Cast<to=10>(x) r = Relu(h) y = Cast<to=1>(r) }", 2.0**-10),
        ("g (float[2] x) => (float[2] y) <float16[1] w = {1}> { v = CastLike(w, x) y = Mul(x, v) }", 2.0**-10),
        ("g (double[2] x) => (double[2] y) { f = Cast<to=1>(x) y = Cast<to=11>(f) }", 2.0**-23),
        ("g (float[2] x, float s) => (float[2] y) { q = QuantizeLinear(x, s) y = DequantizeLinear(q, s) }", 2.0**-8),
        (
            "g (bool c, float[2] x) => (float[2] y) { y = If (c) <then_branch = t () => (float[2] a) "
            "{ h = Cast<to=16>(x) a = Cast<to=1>(h) }, else_branch = e () => (float[2] b) { b = Neg(x) }> }",
            2.0**-7,
        ),
    ],
)
def test_the_coarsest_type_counts(graph, eps):
    assert coarsest_rounding(parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {graph}')) == eps


@pytest.mark.parametrize(("dtype", "widened"), [("float16", True), ("bfloat16", True), ("float", False)])
def test_sixteen_bit_floats_are_widened_by_onnxruntime(dtype: str, widened: bool) -> None:
    text = f'<ir_version: 8, opset_import: ["" : 17]> m ({dtype}[2] x) => ({dtype}[2] y) {{ y = Relu(x) }}'
    assert is_widened(parser.parse_model(text)) is widened
