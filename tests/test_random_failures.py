"""What random models broke, each as the smallest model that showed it, through the preset that it broke in."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.runtime.compare import Tolerance, compare, worst
from tests.random_checks import BINDINGS, interface, is_valid, run
from tests.random_graphs import random_feeds

FOUND = {
    "an int64 Constant below opset 9": """<ir_version: 3, opset_import: ["" : 8]>
g (float[1,2,3,3] x, int64 i) => (int64 y) <int64 i = {1}> { s = Shape (x) y = Gather <axis: int = 0> (s, i) }""",
    "PRelu of double, for which onnxruntime has no kernel": """<ir_version: 9, opset_import: ["" : 19]>
g (double[2,3] x) => (double[2,3] y) <double s = {0.25}> {
    n = Neg (x) r = Relu (n) m = Mul (s, r) p = Relu (x) y = Sub (p, m)
}""",
    "a Conv, which takes no empty sequence, of a Mul and an Add, which do": """<ir_version: 7, opset_import: ["" : 13]>
g (float[2,7,n,6] x) => (float[2,7,n,6] y)
<float[7,1,1] k = {1,2,3,4,5,6,7}, float[7,1,1] t = {1,2,3,4,5,6,7}, float e = {0.00001}> {
    m = ReduceMean <axes = [3]> (x) d = Sub (x, m) q = Mul (d, d) v = ReduceMean <axes = [3]> (q) w = Add (v, e)
    s = Sqrt (w) r = Div (d, s) a = Mul (r, k) y = Add (a, t)
}""",
    "an initializer made in a body, which IR 3 does not have": """<ir_version: 3, opset_import: ["" : 8]>
g (float[2,3] x) => (float[2,3] y) {
    c = Constant <value = bool {1}> () t = Constant <value = int64 {3}> ()
    y = Loop (t, c, x) <body: graph = b (int64 i, bool go, float[2,3] a) => (bool more, float[2,3] r) {
        k = Constant <value = float {2}> () p = Mul (a, k)
        l = Constant <value = float {3}> () r = Mul (p, l) more = Identity (go)
    }>
}""",
    "a dimension that may be 0, as a truth value": """<ir_version: 8, opset_import: ["" : 18]>
g (float[n,m,4] x) => (int64[3] y, float[3] z) {
    y = Shape (x) b = Cast <to = 9> (y) c = Cast <to = 3> (b) z = Cast <to = 1> (c)
}""",
    "the last element of a dimension that may be 0": """<ir_version: 8, opset_import: ["" : 17]>
g (float[n,1,6] x) => (float[3] y) <int64[1] a = {-1}, int64[1] b = {2147483647}, int64[1] c = {0}> {
    s = Slice (x, a, b, c) d = Shape (s) y = Cast <to = 1> (d)
}""",
    "the default epsilon, which is float32's 1e-5 in float64 too": """<ir_version: 10, opset_import: ["" : 22]>
g (double[4,3] x) => (double[4,3] y) <double[3] s = {1,2,3}, double[3] b = {0,0,0}, double[3] v = {0.001,0.002,0.003}> {
    a = BatchNormalization (x, s, b, b, v) y = BatchNormalization (a, s, b, b, v)
}""",
    "a factor that is not finite, found out too late": """<ir_version: 8, opset_import: ["" : 13]>
g (float[2,3] x) => (float[2,3] y) <float k = {1e-42}> { a = Div (x, k) y = Neg (a) }""",
    "a Cast that a branch reads from the graph around it, where onnxruntime forgets it": """
<ir_version: 10, opset_import: ["" : 21]>
g (float[3] x) => (float[3] y) <float h = {0.5}> {
    a = Cast <to = 11> (x) b = Cast <to = 1> (a) m = ReduceMax <keepdims = 0> (b) c = Greater (m, h)
    y = If (c) <then_branch: graph = p () => (float[3] r) { d = Cast <to = 1> (a) r = Mul (d, h) },
                else_branch: graph = q () => (float[3] s) { s = Neg (x) }>
}""",
    "two Casts of an input that only branches read, which onnxruntime drops there": """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n,6] x) => (float[n,6] y) <bool c = {1}> {
    i = Identity (x) a = Cast <to = 11> (i) b = Cast <to = 1> (a)
    y = If (c) <then_branch: graph = p () => (float[n,6] r) { s = Shape (a) d = Reshape (a, s) r = Identity (b) },
                else_branch: graph = q () => (float[n,6] t) { t = Identity (b) }>
}""",
    "a sum of a dimension and a number that wraps around when it is multiplied": """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n,6] x) => (int64 y) <int64 i = {0}, int64 low = {-9223372036854775808}, int64 k = {3}> {
    s = Shape (x) a = Gather (s, i) b = Add (a, low) c = Mul (b, k) y = Div (c, k)
}""",
    "a window of -inf and of padding alone": """<ir_version: 8, opset_import: ["" : 13]>
g (float[1,3,5,5] x) => (float[1,3,5,8] y, float[1,3,5,7] p) <int64[8] w = {0,0,0,1,0,0,0,1}, float one = {1}> {
    z = Sub (one, one) o = Neg (one) i = Div (o, z) p = Pad (x, w, i) q = Pad (p, w, i)
    y = MaxPool <kernel_shape = [1, 2]> (q)
}""",
    "infinities on the way to a finite product": """<ir_version: 7, opset_import: ["" : 14]>
g (float[2,3] x) => (float[2,3] y) <float k = {1e-42}> { a = Div (x, k) y = Mul (a, k) }""",
}


@pytest.mark.parametrize(("passes", "target"), [("O1", "onnx"), ("O3", "onnx"), ("O3", "qnn")])
@pytest.mark.parametrize("text", FOUND.values(), ids=FOUND.keys())
def test_what_was_broken_once_holds(text: str, passes: str, target: str) -> None:
    model = onnx.parser.parse_model(text)
    named = {dim.dim_param for info in model.graph.input for dim in info.type.tensor_type.shape.dim} - {""}
    made = ir.to_proto(onnxopt.run(model, passes, target=target).graph)
    assert interface(made) == interface(model)
    if is_valid(model):
        onnx.checker.check_model(made, full_check=True)
    for dims in BINDINGS[: 3 if named else 1]:
        feeds = [random_feeds(model, seed, dims) for seed in (0, 3)]
        with np.errstate(all="ignore"):
            for one, other in zip(run(model, feeds), run(made, feeds), strict=True):
                found = worst([d for d in compare(one, other, Tolerance.VALUES) if not d.ok])
                assert found is None, str(found)
