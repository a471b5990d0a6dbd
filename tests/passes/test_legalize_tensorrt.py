"""`legalize-tensorrt` as a whole; what each rule does is in tests/rules/tensorrt and tests/rules/spelling_out."""

from __future__ import annotations

import numpy as np
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.passes.legalize_tensorrt import LegalizeTensorrt
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run, run_pass

LEGALIZE = LegalizeTensorrt()

QOPERATORS = """<ir_version: 10, opset_import: ["" : 18]>
g (float[1,2,4,4] x) => (float[1,3,4,4] y)
<float s = {0.1}, int8 z = {0}, float[3] ws = {0.1, 0.2, 0.3}, int8[3] wz = {0, 0, 0},
 int8[3,2,1,1] w = {1,2,3,4,5,6}, int32[3] b = {10, -20, 30}> {
  [in] q = QuantizeLinear (x, s, z)
  [conv] c = QLinearConv (q, s, z, w, ws, wz, s, z, b)
  [out] y = DequantizeLinear (c, s, z)
}"""


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("quantized operators", QOPERATORS),
        (
            "unsigned integers with a zero point",
            """<ir_version: 10, opset_import: ["" : 18]>
            g (float[2,3] x) => (float[2,3] y) <float s = {0.1}, uint8 z = {100}>
            { [q] q = QuantizeLinear (x, s, z) [d] d = DequantizeLinear (q, s, z) [r] y = Relu (d) }""",
        ),
        (
            "a window with holes, and a choice that is known",
            """<ir_version: 10, opset_import: ["" : 18]>
            g (float[1,2,6,6] x) => (float[1,2,4,3] y) <bool[4] c = {1,0,1,1}> {
              [pool] p = AveragePool <kernel_shape = [2,2], dilations = [2,2]> (x)
              [choose] y = Compress <axis = 3> (p, c)
            }""",
        ),
        (
            "bits",
            """<ir_version: 10, opset_import: ["" : 18]>
            g (uint8[3] x, uint8[3] y) => (uint8[3] z) { [s] z = BitShift <direction = "LEFT"> (x, y) }""",
        ),
    ],
)
def test_golden(case: str, text: str) -> None:
    check_golden(LEGALIZE, parse(text), case)


def test_quantized_operators_keep_their_values() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype("f4")
    graph = parse(QOPERATORS)
    check_pass(LEGALIZE, graph, {"x": x})
    assert "QLinearConv" not in ops(graph)


def test_with_requantize_all_of_it_is_int8() -> None:
    """uint8 with the zero point 128 is left to `requantize`, which makes TensorRT's int8 of it."""
    graph = parse("""<ir_version: 10, opset_import: ["" : 18]>
        g (float[2,3] x) => (float[2,4] y) <float s = {0.1}, uint8 z = {128},
        uint8[3,4] w = {1,2,3,4,5,6,7,8,9,10,11,12}> {
          q = QuantizeLinear (x, s, z) m = QLinearMatMul (q, s, z, w, s, z, s, z) y = DequantizeLinear (m, s, z)
        }""")
    before = ir.to_proto(graph.copy())
    after = onnxopt.run(graph, "legalize-tensorrt,requantize", target="tensorrt").graph
    pairs = [node for node in after.nodes if node.op in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) == 5 and {str(node.inputs[2].dtype) for node in pairs} == {"int8"}
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 3)).astype("f4")}
    np.testing.assert_allclose(run(ir.to_proto(after), feeds)["y"], run(before, feeds)["y"], atol=1e-5)


def test_in_branches() -> None:
    graph = parse("""<ir_version: 10, opset_import: ["" : 18]>
        g (float[2,3] x, bool c) => (float[2,3] y) {
          y = If (c) <then_branch = t () => (float[2,3] u) { u = Mod (x, x) },
                      else_branch = e () => (float[2,3] v) { v = Celu (x) }>
        }""")
    run_pass(LEGALIZE, graph)
    assert "Celu" not in {node.op for node in ir.every_node(graph)}


def test_in_functions_types_are_not_known() -> None:
    graph = parse("""<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[2] x) => (float[2] y) { y = local.f (x) }
        <domain: "local", opset_import: ["" : 18]> f (x) => (y) { y = Celu (x) }""")
    check_refusal(LEGALIZE, graph, "the element type of 'x' is not known: inline-functions first")


def test_open_dimensions_are_named_with_the_remedy() -> None:
    graph = parse("""<ir_version: 10, opset_import: ["" : 18]>
        g (float[n,2,6,6] x) => (float[n,2,4,4] y) { y = MaxPool <kernel_shape = [2,2], dilations = [2,2]> (x) }""")
    check_refusal(LEGALIZE, graph, "axis 0 of 'x' has no fixed size: freeze-shapes may help")


def test_operators_of_other_domains_stay() -> None:
    graph = parse("""<ir_version: 10, opset_import: ["" : 18, "mine" : 1]>
        g (float[2] x) => (float[2] y) { y = mine.Celu (x) }""")
    changed, _ = run_pass(LEGALIZE, graph)
    assert not changed
