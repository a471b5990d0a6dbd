"""`legalize-qnn` as a whole; what each rule does is in tests/rules/spelling_out."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.legalize_qnn import LegalizeQnn
from onnxopt.pipeline.base import Context
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass

LEGALIZE = LegalizeQnn()

NETWORK = """<ir_version: 10, opset_import: ["" : 18]>
g (float[1,3,8,8] x) => (float[1,2] y, float[1,3,1,1] z) <float[2,3] w = {1,2,3,4,5,6}, float[2] b = {1,-1}> {
  [act] a = Softsign (x)
  [pool] p = AveragePool <kernel_shape = [2,2], auto_pad = "SAME_UPPER"> (a)
  [norm] z = ReduceL1 <keepdims = 1> (p, axes)
  [axes] axes = Constant <value_ints = [2, 3]> ()
  [flat] f = Flatten (z)
  [head] y = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (f, w, b)
}"""


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("a network", NETWORK),
        (
            "layer normalization with its moments",
            """<ir_version: 10, opset_import: ["" : 18]>
            g (float[2,3,4] x, float[3,4] s) => (float[2,3,4] y, float[2,1,1] mean)
            { [n] y, mean = LayerNormalization <axis = 1> (x, s) }""",
        ),
        (
            "crop and pad",
            """<ir_version: 10, opset_import: ["" : 18]>
            g (float[4,6] x) => (float[5,6] y) <int64[1] to = {5}> { [c] y = CenterCropPad <axes = [0]> (x, to) }""",
        ),
        (
            "nearest and cubic",
            """<ir_version: 10, opset_import: ["" : 18]>
            g (float[1,1,2,2] x) => (float[1,1,5,5] y, float[1,1,3,2] z)
            <int64[4] s = {1,1,5,5}, int64[4] t = {1,1,3,2}> {
              [n] y = Resize <mode = "nearest", nearest_mode = "ceil"> (x, , , s)
              [c] z = Resize <mode = "cubic"> (x, , , t)
            }""",
        ),
    ],
)
def test_golden(case: str, text: str) -> None:
    check_golden(LEGALIZE, parse(text), case)


def test_a_network_keeps_its_values() -> None:
    check_pass(LEGALIZE, parse(NETWORK))


def test_in_branches() -> None:
    graph = parse("""<ir_version: 10, opset_import: ["" : 18]>
        g (float[2,3] x, bool c) => (float[2,3] y) {
          y = If (c) <then_branch = t () => (float[2,3] u) { u = Sinh (x) },
                      else_branch = e () => (float[2,3] v) { v = Erf (x) }>
        }""")
    check_pass(LEGALIZE, graph, {"x": np.full((2, 3), 0.7, np.float32), "c": np.array(True)})
    assert not {"Sinh", "Erf"} & {node.op for node in ir.every_node(graph)}


def test_in_functions_types_are_not_known() -> None:
    graph = parse("""<ir_version: 10, opset_import: ["" : 18, "local" : 1]>
        g (float[2] x) => (float[2] y) { y = local.f (x) }
        <domain: "local", opset_import: ["" : 18]> f (x) => (y) { y = Softsign (x) }""")
    check_refusal(LEGALIZE, graph, "the element type of 'x' is not known: inline-functions first")


def test_an_output_in_the_middle_and_shared_values() -> None:
    graph = parse("""<ir_version: 10, opset_import: ["" : 18]>
        g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Celu <alpha = 2.0> (x) z = Softsign (y) }""")
    check_pass(LEGALIZE, graph)
    assert [tensor.name for tensor in graph.outputs] == ["y", "z"]


def test_names_and_metadata_stay() -> None:
    graph = parse(NETWORK)
    for node in graph.nodes:
        node.metadata_props["from"] = node.name
    run_pass(LEGALIZE, graph)
    made = {node.name: node.metadata_props["from"] for node in graph.nodes if node.metadata_props.get("from") == "act"}
    assert made == {"act": "act", "act_Abs": "act", "act_Add": "act"}


def test_open_dimensions_are_told_with_the_remedy() -> None:
    graph = parse("""<ir_version: 10, opset_import: ["" : 18]>
        g (float[batch,3] x) => (float[batch,3] y) { y = Relu (x) }""")
    _, ctx = run_pass(LEGALIZE, graph, target="qnn")
    assert [refusal.what for refusal in ctx.refusals] == ["HTP takes fixed sizes alone: freeze-shapes{batch=N} first"]
    assert ctx.warnings == ["legalize-qnn: HTP takes fixed sizes alone, and open are batch: run freeze-shapes first"]


@pytest.mark.parametrize("sizes", [2, 5])
def test_open_dimensions_that_do_not_matter(sizes: int) -> None:
    graph = parse("""<ir_version: 10, opset_import: ["" : 18]>
        g (float[n,3] x) => (float[n,3] y) { y = Erf (x) }""")
    x = np.random.default_rng(0).normal(size=(sizes, 3)).astype(np.float32)
    check_pass(LEGALIZE, graph, {"x": x})


def test_operators_of_other_domains_stay() -> None:
    graph = parse("""<ir_version: 10, opset_import: ["" : 18, "mine" : 1]>
        g (float[2] x) => (float[2] y) { y = mine.Erf (x) }""")
    changed, _ = run_pass(LEGALIZE, graph)
    assert not changed


def test_old_opsets_are_told_what_helps() -> None:
    graph = parse("""<ir_version: 4, opset_import: ["" : 9]>
        g (float[2,5] x) => (float[2,1] y) { y = ReduceProd <axes = [1]> (x) }""")
    check_refusal(LEGALIZE, graph, "it takes opset 10, and this is 9: convert-opset may help")


def test_limit_leaves_the_graph_whole() -> None:
    graph = parse(NETWORK)
    ctx = Context(current="legalize-qnn", limit=1)
    assert LEGALIZE.run(graph, ctx) and len(ctx.rewrites) == 1
    ir.sort(graph)
    assert "AveragePool" in ops(graph) and "Softsign" not in ops(graph)
    for tensor in (tensor for node in graph.nodes for tensor in node.inputs):
        assert all(reader in graph.nodes for reader in tensor.outputs)
