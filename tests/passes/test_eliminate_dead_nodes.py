"""`eliminate-dead-nodes`: what no output needs goes, in every scope, and nothing else."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.passes.eliminate_dead_nodes import EliminateDeadNodes
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass

ELIMINATE = EliminateDeadNodes()
HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1, "vendor" : 1]>'


def test_golden_dead_chain_initializer_and_function() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2,3] x) => (float[2,3] y) <float[3] w = {{1, 2, 3}}, float[2] unread = {{4, 5}}> {{
            dead = Exp (x)
            deader = Mul (dead, w)
            y = Relu (x)
            z = local.called_by_nobody (deader)
        }}
        <opset_import: ["" : 17], domain: "local"> called_by_nobody (a) => (b) {{ b = Neg (a) }}
    """)
    check_golden(ELIMINATE, graph, "a dead chain, its weight and its function")


def test_golden_subgraphs_and_functions() -> None:
    check_golden(ELIMINATE, parse(NESTED), "inside an If and a function")


NESTED = f"""
    {HEAD}
    g (float[2] x, bool c) => (float[2] y) {{
        outer = Abs (x)
        p = If (c) <
            then_branch = t () => (float[2] t1) {{ d1 = Exp (outer) t0 = local.twice (x) t1 = Identity (t0) }},
            else_branch = e () => (float[2] e1) {{ e1 = Neg (x) }}
        >
        y = Relu (p)
    }}
    <opset_import: ["" : 17], domain: "local"> twice (a) => (b) {{ d2 = Sqrt (a) b = Add (a, a) }}
"""


def test_dead_nodes_in_subgraphs_and_functions_go_and_so_does_what_only_they_read() -> None:
    graph = parse(NESTED)
    check_pass(ELIMINATE, graph, {"x": np.array([1, -2], np.float32), "c": np.array(True)})
    assert [node.op for node in ir.every_node(graph)] == ["If", "Relu", "twice", "Identity", "Neg", "Add"]


def test_a_dead_if_goes_as_a_whole_in_one_rewrite() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2] x, bool c) => (float[2] y) {{
            p = If (c) <
                then_branch = t () => (float[2] t1) {{ t0 = Exp (x) t1 = Abs (t0) }},
                else_branch = e () => (float[2] e1) {{ e1 = Neg (x) }}
            >
            y = Relu (x)
        }}
    """)
    ctx = check_pass(ELIMINATE, graph, {"x": np.ones(2, np.float32), "c": np.array(True)})
    assert [rewrite.where for rewrite in ctx.rewrites] == ["If -> p"]


def test_a_value_that_only_a_subgraph_gives_out_is_needed() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2] x, bool c) => (float[2] y) {{
            inner = Neg (x)
            y = If (c) <
                then_branch = t () => (float[2] inner) {{ }},
                else_branch = e () => (float[2] e1) {{ e1 = Abs (x) }}
            >
        }}
    """)
    assert not run_pass(ELIMINATE, graph)[0]


def test_functions_go_with_those_that_only_they_call_and_overloads_are_told_apart() -> None:
    model = onnx.parser.parse_model(f"""
        {HEAD}
        g (float[2] x) => (float[2] y) {{ y = local.f (x) }}
        <opset_import: ["" : 17], domain: "local"> f (a) => (b) {{ b = Neg (a) }}
        <opset_import: ["" : 17], domain: "local"> f (a) => (b) {{ b = Abs (a) }}
        <opset_import: ["" : 17], domain: "local"> deep (a) => (b) {{ b = Exp (a) }}
        <opset_import: ["" : 17, "local" : 1], domain: "local"> outer (a) => (b) {{ b = local.deep (a) }}
    """)
    model.functions[1].overload = "other"
    graph = ir.from_proto(model)
    changed, ctx = run_pass(ELIMINATE, graph)
    assert changed and [function.unique_id for function in graph.functions] == [("local", "f", "")]
    assert [rewrite.where for rewrite in ctx.rewrites] == ["outer", "f", "deep"]
    assert not run_pass(ELIMINATE, graph)[0]


def test_unread_optional_outputs_are_omitted() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[1,1,4,4] x) => (float[1,1,2,2] y) {{
            y, indices = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        }}
    """)
    ctx = check_pass(ELIMINATE, graph)
    assert [output.name for output in graph.nodes[0].outputs] == ["y"]
    assert "'indices'" in ctx.rewrites[0].what


def test_an_unread_output_between_read_ones_keeps_its_place() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[5,2,3] x) => (float[1,2,4] h)
        <float[1,16,3] w = {{{", ".join(["0.1"] * 48)}}}, float[1,16,4] r = {{{", ".join(["0.2"] * 64)}}}> {{
            all, h, c = LSTM <hidden_size = 4> (x, w, r)
        }}
    """)
    check_pass(ELIMINATE, graph)
    assert [output.name for output in graph.nodes[0].outputs] == ["all", "h"]


@pytest.mark.parametrize(
    ("opset", "node", "outputs"),
    [
        # Before opset 14 a BatchNormalization with more outputs than one is in training mode.
        (9, "y, mean, var, saved_mean, saved_var = BatchNormalization (x, s, s, s, s)", 5),
        (15, "y, mean, var = BatchNormalization <training_mode = 1> (x, s, s, s, s)", 3),
        # As many outputs as parts: none is optional.
        (17, "y, rest = Split <axis = 1> (x)", 2),
    ],
)
def test_outputs_whose_number_means_something_stay(opset: int, node: str, outputs: int) -> None:
    graph = parse(f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        g (float[2,2] x) => (float[n,m] y) <float[2] s = {{1, 2}}> {{ {node} }}
    """)
    run_pass(ELIMINATE, graph)
    assert len(graph.nodes[0].outputs) == outputs


def test_inputs_and_their_defaults_stay() -> None:
    graph = parse(f"{HEAD} g (float[2] x, float[2] unread, float[2] d = {{1, 2}}) => (float[2] y) {{ y = Relu (x) }}")
    assert not run_pass(ELIMINATE, graph)[0]
    assert [tensor.name for tensor in graph.inputs] == ["x", "unread", "d"]


def test_an_initializer_that_is_itself_an_output_stays() -> None:
    graph = parse(f"{HEAD} g (float[2] x) => (float[2] y, float[2] w) <float[2] w = {{1, 2}}> {{ y = Relu (x) }}")
    check_pass(ELIMINATE, graph, expect_change=False)


def test_operators_of_unknown_domains_stay_with_what_they_read() -> None:
    graph = parse(f"{HEAD} g (float[2] x) => (float[2] y) {{ a = Exp (x) b = vendor.Log (a) y = Relu (x) }}")
    assert not run_pass(ELIMINATE, graph)[0]


def test_a_call_of_a_function_that_holds_an_unknown_operator_stays() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2] x) => (float[2] y) {{ b = local.f (x) y = Relu (x) }}
        <opset_import: ["" : 17, "vendor" : 1], domain: "local"> f (a) => (b) {{ b = vendor.Log (a) }}
    """)
    assert not run_pass(ELIMINATE, graph)[0]


def annotated(value: str) -> ir.Graph:
    model = onnx.parser.parse_model(f"""
        {HEAD}
        g (float[2] x) => (float[2] y) <float scale = {{0.5}}, float other = {{2}}> {{ dead = Exp (x) y = Relu (x) }}
    """)
    annotation = model.graph.quantization_annotation.add(tensor_name=value)
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    return ir.from_proto(model)


def test_the_scale_of_a_quantization_annotation_stays() -> None:
    graph = annotated("y")
    check_pass(ELIMINATE, graph)
    assert [tensor.name for tensor in ir.to_proto(graph).graph.initializer] == ["scale"]


def test_the_annotation_of_a_value_that_is_gone_goes_with_its_scale() -> None:
    graph = annotated("dead")
    check_pass(ELIMINATE, graph)
    model = ir.to_proto(graph)
    assert not model.graph.initializer and not model.graph.quantization_annotation


def test_training_information_may_name_initializers() -> None:
    model = onnx.parser.parse_model(f"{HEAD} g (float[2] x) => (float[2] y) <float[2] w = {{1, 2}}> {{ y = Relu (x) }}")
    model.training_info.add().update_binding.add(key="w", value="w")
    check_refusal(ELIMINATE, ir.from_proto(model), "training information may name them")


@pytest.mark.parametrize("limit", range(5))
def test_a_refused_removal_keeps_what_the_node_reads(limit: int) -> None:
    graph = parse(f"{HEAD} g (float[2] x) => (float[2] y) {{ a = Exp (x) b = Abs (a) c = Neg (b) y = Relu (x) }}")
    changed, ctx = run_pass(ELIMINATE, graph, limit=limit)
    assert ops(graph) == [*["Exp", "Abs", "Neg"][: max(3 - limit, 0)], "Relu"]
    assert len(ctx.rewrites) == min(limit, 3) and changed == (limit > 0)


def test_names_of_initializers_in_old_models_stay_listed_in_order() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 3, opset_import: ["" : 9]>
        g (float[2] w, float[2] x, float[2] unread) => (float[2] y) <float[2] w = {1, 2}, float[2] unread = {3, 4}> {
            y = Add (x, w)
        }
    """)
    graph = ir.from_proto(model)
    check_pass(ELIMINATE, graph)
    assert [info.name for info in ir.to_proto(graph).graph.input] == ["w", "x"]
