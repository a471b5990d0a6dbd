"""`convert-opset`: every scope is converted, and all that a model says of itself stays what it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.pipeline.base import Preserves
from tests.passes.checks import assert_equal_outputs, check_pass, check_refusal, parse, random_feeds, run, run_pass
from tests.passes.opset_models import FUNCTION, TO, model


def test_subgraphs_are_converted() -> None:
    graph = parse(
        """
        <ir_version: 7, opset_import: ["" : 12]>
        g (bool c, float[2,3] x) => (float[2,3] y) {
          y = If (c) <
            then_branch = t () => (float[2,3] p) { a = Unsqueeze <axes = [0]> (x) p = Squeeze <axes = [0]> (a) },
            else_branch = e () => (float[2,3] q) { q = Softmax <axis = 0> (x) }
          >
        }
        """
    )
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)}
    for condition in (True, False):
        check_pass(TO(18), graph.copy(), {**feeds, "c": np.array(condition)})
    check_pass(TO(18), graph)
    assert all(scope.opset == 18 for scope in ir.every_graph(graph))


@pytest.mark.parametrize("opset", [13, 17])
def test_functions_are_converted(opset: int) -> None:
    graph = parse(FUNCTION % opset)
    check_pass(TO(18), graph)
    assert [scope.opset for scope in ir.every_graph(graph)] == [18, 18]
    assert "axes" not in graph.functions[0].nodes[-2].attrs


def test_a_function_of_another_opset_alone_is_converted() -> None:
    graph = parse((FUNCTION % 17).replace('["" : 13', '["" : 18'))
    changed, _ = run_pass(TO(18), graph)  # onnxruntime takes the body for one of the model's opset
    feeds = random_feeds(ir.to_proto(graph))
    x = np.maximum(feeds["x"], 0)
    assert changed and graph.functions[0].opset == 18
    np.testing.assert_allclose(run(ir.to_proto(graph), feeds)["y"], x - x.mean(1, keepdims=True), atol=1e-6)


def test_an_attribute_of_the_function_is_no_value() -> None:
    text = (
        (FUNCTION % 13)
        .replace("Centred (v)", "Centred <axes: ints> (v)")
        .replace("<axes = [1]>", "<axes: ints = @axes>")
    )
    check_refusal(
        TO(18), parse(text.replace("local.Centred (a)", "local.Centred <axes = [1]> (a)")), "inline-functions"
    )


def test_a_function_named_like_an_operator_is_left_alone() -> None:
    graph = parse(
        """
        <ir_version: 8, opset_import: ["" : 13]>
        g (float[2,3] x) => (float[2,3] y) { y = Gelu (x) }
        <opset_import: ["" : 13]> Gelu (v) => (w) { w = Relu (v) }
        """
    )
    changed, ctx = run_pass(TO(17), graph)
    assert changed and not ctx.refusals and graph.nodes[0].op == "Gelu"


@pytest.mark.parametrize("sizes", [{"n": 2, "m": 6}, {"n": 5, "m": 3}])
def test_symbolic_dimensions(sizes: dict[str, int]) -> None:
    graph = model(12, "a = Softmax <axis = 1> (x) b = ReduceMax <axes = [2]> (a) y = Sub (a, b)", x="float[n,m,4]")
    before = ir.to_proto(graph.copy())
    run_pass(TO(18), graph)
    feeds = {"x": np.random.default_rng(1).normal(size=(sizes["n"], sizes["m"], 4)).astype(np.float32)}
    assert_equal_outputs(run(before, feeds), run(ir.to_proto(graph), feeds), Preserves.BITS)
    assert graph.inputs[0].shape == ["n", "m", 4]


def test_outputs_in_the_middle_keep_name_and_type() -> None:
    graph = parse(
        """
        <ir_version: 7, opset_import: ["" : 12]>
        g (float[n,3,4] x) => (float[n,3,4] s, float[n,3,4] y) { s = Softmax (x)  y = Relu (s) }
        """
    )
    check_pass(TO(13), graph)
    assert [(output.name, output.shape) for output in graph.outputs] == [("s", ["n", 3, 4]), ("y", ["n", 3, 4])]


def test_initializers_that_an_old_file_lists_stay_constant() -> None:
    graph = parse(
        """
        <ir_version: 3, opset_import: ["" : 7]>
        g (float[2,3] x, float[3] w) => (float[2,3] y) <float[3] w = {1, 2, 3}> {
          a = Mul (x, w)  y = Clip <max = 1.0> (a)
        }
        """
    )
    check_pass(TO(17), graph)
    assert graph.ir_version == 8
    assert [info.name for info in ir.to_proto(graph).graph.input] == ["x"]


def test_names_and_metadata_stay_and_new_nodes_are_named_after_the_old() -> None:
    graph = model(12, "y = Softmax <axis = 1> (x)")
    node = graph.nodes[0]
    node.name, node.doc_string = "attend", "over heads"
    node.metadata_props["layer"] = "3"
    graph.model.producer_name = "a tool"
    run_pass(TO(13), graph)
    assert node in graph.nodes and (node.name, node.doc_string) == ("attend", "over heads")
    assert node.metadata_props["layer"] == "3"
    assert [other.name for other in graph.nodes] == ["attend_flattened", "attend_shape", "attend", "attend_reshaped"]
    assert ir.to_proto(graph).producer_name == "a tool"


def test_other_domains_stay() -> None:
    graph = parse(
        """
        <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1, "ai.onnx.ml" : 3]>
        g (float[2,3] x) => (float[2,3] y) { a = com.microsoft.Gelu (x)  y = ai.onnx.ml.Normalizer <norm = "L2"> (a) }
        """
    )
    check_pass(TO(20), graph)
    imports = {entry.domain: entry.version for entry in ir.to_proto(graph).opset_import}
    assert imports == {"": 20, "com.microsoft": 1, "ai.onnx.ml": 3}


def test_a_model_without_the_default_domain_is_of_no_opset() -> None:
    graph = parse(
        """
        <ir_version: 8, opset_import: ["ai.onnx.ml" : 3]>
        g (float[2,3] x) => (float[2,3] y) { y = ai.onnx.ml.Normalizer <norm = "L2"> (x) }
        """
    )
    check_pass(TO(20), graph, expect_change=False)


def test_weights_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = model(12, "a = Add (x, x) y = Softmax <axis = 1> (a)", x="float[64,64,4]")
    weight = ir.Constant("w", np.ones((64, 64, 4), np.float32))
    graph.nodes[0].inputs[1] = weight
    ir.save(graph, tmp_path / "m.onnx", external=True)
    loaded = ir.load(tmp_path / "m.onnx")
    monkeypatch.setattr(ir.Constant, "read", lambda self: pytest.fail(f"'{self.name}' was read"))
    changed, _ = run_pass(TO(20), loaded)
    assert changed and all(constant.is_stored for constant in loaded.constants if constant.name == "w")


def test_constants_are_shared() -> None:
    graph = model(13, "a = ReduceMean <axes = [1]> (x) b = ReduceMax <axes = [1]> (x) y = Add (a, b)")
    check_pass(TO(18), graph)
    assert graph.nodes[0].inputs[1] is graph.nodes[1].inputs[1]


def test_types_are_asked_for_on_the_way_down() -> None:
    narrow = model(14, "a = Cast <to = 5> (x) b = Add (a, a) y = Cast <to = 1> (b)")
    check_refusal(TO(13), narrow, r"'a' is tensor\(int16\), which it does not take at opset 13")


def test_types_that_are_not_known_refuse_the_way_down() -> None:
    """Identity takes 4-bit integers since opset 21, and of a value in a function no type is known."""
    text = (FUNCTION % 21).replace(": 13", ": 21").replace("ReduceMean <axes = [1]> (v)", "Identity (v)")
    check_refusal(TO(20), parse(text), "that of 'v' is not known: infer-shapes or inline-functions first")


def test_a_limit_of_no_rewrites_leaves_the_model() -> None:
    graph = model(13, "y = ReduceMax <axes = [1]> (x)")
    changed, _ = run_pass(TO(18), graph, limit=0)
    assert not changed and graph.opset == 13


def test_the_interface_is_the_same() -> None:
    graph = model(9, "y = Slice <starts = [0], ends = [1]> (x)")
    inputs, outputs = (list(map(str, side)) for side in (graph.inputs, graph.outputs))
    run_pass(TO(22), graph)
    assert (inputs, outputs) == tuple(list(map(str, side)) for side in (graph.inputs, graph.outputs))


@pytest.mark.parametrize(("source", "target", "before", "after"), [(13, 21, 7, 10), (13, 21, 12, 12), (21, 13, 12, 7)])
def test_the_ir_version_follows(source: int, target: int, before: int, after: int) -> None:
    """Up where the opset needs it; down, since the older runtimes that have the opset refuse a newer one."""
    graph = model(source, "y = Relu (x)", ir_version=before)
    run_pass(TO(target), graph)
    assert graph.ir_version == after


def test_the_ir_version_stays_where_the_model_needs_it() -> None:
    graph = parse(
        (FUNCTION % 17)
        .replace('["" : 13', '["" : 17')
        .replace("ReduceMean <axes = [1]> (v)", "Sigmoid (v)")
        .replace("Sub (v, m)", "Tanh (m)")
    )
    graph.ir_version = 12
    run_pass(TO(13), graph)
    assert (graph.opset, graph.ir_version) == (13, 8)
