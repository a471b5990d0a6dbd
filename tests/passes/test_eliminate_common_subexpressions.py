"""`eliminate-common-subexpressions`: equal nodes are computed once, and only nodes that are sure to be equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxopt import ir
from onnxopt.passes.eliminate_common_subexpressions import EliminateCommonSubexpressions
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass

ELIMINATE = EliminateCommonSubexpressions()
HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1, "vendor" : 1, "com.microsoft" : 1]>'


def model(body: str, weights: str = "", head: str = HEAD) -> ir.Graph:
    return parse(f"{head} g (float[2,3] x, float[2,3] z) => (float[a,b] y) <{weights}> {{ {body} }}")


def test_golden_chain_of_equal_nodes() -> None:
    graph = model("a = Exp (x) b = Exp (x) c = Add (a, z) d = Add (z, b) y = Mul (c, d)")
    check_golden(ELIMINATE, graph, "two equal chains, the sum in the other order")


def test_golden_subgraphs_and_functions() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2] x, bool c) => (float[2] y) {{
            before = Exp (x)
            p = If (c) <
                then_branch = t () => (float[2] t1) {{ a = Exp (x) b = Abs (a) b2 = Abs (a) t1 = Add (b, b2) }},
                else_branch = e () => (float[2] e1) {{ n = Abs (x) e1 = local.f (n) }}
            >
            after = Abs (x)
            q = Mul (before, after)
            y = Mul (p, q)
        }}
        <opset_import: ["" : 17], domain: "local"> f (a) => (b) {{ n = Neg (a) m = Neg (a) b = Add (n, m) }}
    """)
    check_golden(ELIMINATE, graph, "an outer node serves an inner one; siblings and later nodes do not")


def test_subgraphs_compute_the_same_afterwards() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2] x, bool c) => (float[2] y) {{
            before = Exp (x)
            p = If (c) <
                then_branch = t () => (float[2] t1) {{ a = Exp (x) t1 = Abs (a) }},
                else_branch = e () => (float[2] e1) {{ a2 = Exp (x) e1 = Neg (a2) }}
            >
            y = Mul (p, before)
        }}
    """)
    check_pass(ELIMINATE, graph, {"x": np.array([1, -2], np.float32), "c": np.array(False)})
    assert [node.op for node in ir.every_node(graph)].count("Exp") == 1


def test_a_loop_body_uses_what_was_computed_before_the_loop() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2] x, int64 n, bool c) => (float[2] y) {{
            e = Exp (x)
            p = Loop (n, c, e) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) {{
                e2 = Exp (x)
                so = Add (s, e2)
                co = Identity (ci)
            }}>
            y = Add (p, e)
        }}
    """)
    feeds = {"x": np.array([1, -2], np.float32), "n": np.array(3), "c": np.array(True)}
    check_pass(ELIMINATE, graph, feeds)
    assert [node.op for node in ir.every_node(graph)].count("Exp") == 1


def test_casts_stay_in_their_body() -> None:
    """onnxruntime drops a pair of Casts outside, and forgets the body that reads the second."""
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 21]> g (float[3] x) => (float[3] y) <float h = {0.5}> {
            a = Cast <to = 11> (x) b = Cast <to = 1> (a) m = ReduceMax <keepdims = 0> (b) c = Greater (m, h)
            y = If (c) <then_branch: graph = p () => (float[3] r) {
                            d = Cast <to = 1> (a) e = Cast <to = 1> (a) t = Mul (d, h) r = Add (t, e) },
                        else_branch: graph = q () => (float[3] s) { s = Neg (x) }>
        }""")
    for value in (-1, 1):
        check_pass(ELIMINATE, graph.copy(), {"x": np.full(3, value, np.float32)})
    run_pass(ELIMINATE, graph)
    assert [node.op for node in graph.nodes[-1].attrs["then_branch"].nodes] == ["Cast", "Mul", "Add"]


def test_constants_stay_in_their_body_and_do_not_keep_their_readers_apart() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2] x, bool c) => (float[2] y) {{
            k = Constant <value = float[2] {{1, 2}}> ()
            m = Mul (x, k)
            p = If (c) <
                then_branch = t () => (float[2] t1) {{
                    k1 = Constant <value = float[2] {{1, 2}}> ()
                    k2 = Constant <value = float[2] {{1, 2}}> ()
                    n1 = Mul (x, k1)
                    t1 = Sum (n1, k1, k2)
                }},
                else_branch = e () => (float[2] e1) {{ e1 = Neg (x) }}
            >
            y = Add (p, m)
        }}
    """)
    check_pass(ELIMINATE, graph, {"x": np.array([1, -2], np.float32), "c": np.array(True)})
    then_branch = next(graph.subgraphs())
    assert ops(then_branch) == ["Constant", "Sum"]
    assert [tensor.name for tensor in then_branch.nodes[1].inputs] == ["m", "k1", "k1"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("LeakyRelu <alpha = 0.1> (x)", "LeakyRelu <alpha = 0.2> (x)"),
        ("Sub (x, z)", "Sub (z, x)"),
        ("Max (x, z)", "Max (z, x)"),  # of 0.0 and -0.0 either may come out
        ("Exp (x)", "vendor.Exp (x)"),
        ("Add (x, zero)", "Add (x, minus_zero)"),
        ("Clip (x, zero)", "Clip (x, '', zero)"),
        ("Cast <to = 1> (x)", "Cast <to = 11> (x)"),
    ],
)
def test_what_differs_is_not_merged(one: str, other: str) -> None:
    body = f"a = {one} b = {other} ac = Cast <to = 1> (a) bc = Cast <to = 1> (b) y = Mul (ac, bc)".replace("''", "")
    graph = model(body, "float zero = {0}, float minus_zero = {-0.0}")
    assert not run_pass(ELIMINATE, graph)[0]


def test_an_integer_attribute_is_not_a_float() -> None:
    graph = model("a = Constant <value_int = 1> () b = Constant <value_float = 1.0> () y = vendor.Both (a, b)")
    assert not run_pass(ELIMINATE, graph)[0]


@pytest.mark.parametrize(
    "node",
    [
        "RandomNormalLike (x)",
        "RandomNormalLike <seed = 1.0> (x)",
        "Dropout (x, ratio, yes)",
        "vendor.Anything (x)",
        "com.microsoft.BiasDropout (x, z)",
        "local.random (x)",
    ],
)
def test_what_may_differ_each_time_is_not_merged(node: str) -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2,3] x, float[2,3] z) => (float[2,3] y) <float ratio = {{0.5}}, bool yes = {{1}}> {{
            a = {node}
            b = {node}
            y = Sub (a, b)
        }}
        <opset_import: ["" : 17], domain: "local"> random (p) => (q) {{ r = RandomNormalLike (p) q = Add (p, r) }}
    """)
    assert not run_pass(ELIMINATE, graph)[0]


def test_a_dropout_that_cannot_be_training_and_a_call_of_a_plain_function_are_merged() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2,3] x) => (float[2,3] y) <float ratio = {{0.5}}, bool no = {{0}}> {{
            a = Dropout (x, ratio, no)
            b = Dropout (x, ratio, no)
            c = local.twice (a)
            d = local.twice (b)
            y = Sub (c, d)
        }}
        <opset_import: ["" : 17], domain: "local"> twice (p) => (q) {{ q = Add (p, p) }}
    """)
    check_pass(ELIMINATE, graph)
    assert ops(graph) == ["Dropout", "twice", "Sub"]


def test_equal_small_initializers_count_as_one() -> None:
    graph = model("a = Add (x, u) b = Add (x, v) y = Mul (a, b)", "float[3] u = {1, 2, 3}, float[3] v = {1, 2, 3}")
    check_pass(ELIMINATE, graph)
    assert ops(graph) == ["Add", "Mul"]
    assert [tensor.name for tensor in ir.to_proto(graph).graph.initializer] == ["u"]


def test_initializers_of_equal_bytes_and_other_types_do_not() -> None:
    graph = model(
        "a = Shape (u) b = Shape (v) c = Cast <to = 1> (u) d = Cast <to = 1> (v) "
        "e = Add (x, c) f = Add (z, d) h = Mul (e, f) k = Reshape (h, a) m = Reshape (h, b) y = Add (k, m)",
        "int32[2,1] u = {1, 2}, uint32[2,1] v = {1, 2}",
    )
    assert not run_pass(ELIMINATE, graph)[0]


def large(one: np.ndarray, other: np.ndarray) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(
        f"{HEAD} g (float[1,512] x) => (float[1,512] y) {{ a = Mul (x, u) b = Mul (x, v) y = Add (a, b) }}"
    )
    proto.graph.initializer.extend(
        [onnx.numpy_helper.from_array(array, name) for array, name in ((one, "u"), (other, "v"))]
    )
    return proto


def test_large_initializers_are_one_only_if_they_are_the_same_bytes_of_one_file(tmp_path: Path) -> None:
    weights = np.arange(512, dtype=np.float32)
    assert not run_pass(ELIMINATE, ir.from_proto(large(weights, weights.copy())))[0]
    path = tmp_path / "model.onnx"
    onnx.save(large(weights, weights), path, save_as_external_data=True, location="weights", size_threshold=0)
    proto = onnx.load(path, load_external_data=False)
    first, second = proto.graph.initializer
    del second.external_data[:]
    second.external_data.extend(first.external_data)
    path.write_bytes(proto.SerializeToString())
    graph = ir.load(path)
    assert run_pass(ELIMINATE, graph)[0] and ops(graph) == ["Mul", "Add"]


def test_constants_are_compared_by_content_and_the_sign_of_zero() -> None:
    graph = model("""
        a = Constant <value = float[2] {1, 0}> ()
        b = Constant <value = float[2] {1, 0}> ()
        c = Constant <value = float[2] {1, -0.0}> ()
        s = Sum (a, b, c)
        t = ReduceSum <keepdims = 0> (s)
        y = Add (x, t)
    """)
    check_pass(ELIMINATE, graph)
    assert ops(graph) == ["Constant", "Constant", "Sum", "ReduceSum", "Add"]


def test_two_equal_outputs_keep_their_names() -> None:
    graph = parse(f"{HEAD} g (float[2] x) => (float[2] p, float[2] q) {{ p = Exp (x) q = Exp (x) }}")
    check_refusal(ELIMINATE, graph, "'q' and 'p' are both outputs, and each keeps its name")


def test_readers_of_equal_outputs_are_still_found_equal() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2] x) => (float[2] p, float[2] q, float[2] y) {{
            p = Exp (x) q = Exp (x) a = Neg (p) b = Neg (q) y = Mul (a, b)
        }}
    """)
    check_pass(ELIMINATE, graph)
    assert ops(graph) == ["Exp", "Exp", "Neg", "Mul"]


def test_an_output_takes_its_name_to_the_node_that_stays() -> None:
    graph = parse(f"{HEAD} g (float[2] x) => (float[2] q, float[2] y) {{ p = Exp (x) q = Exp (x) y = Neg (p) }}")
    check_pass(ELIMINATE, graph)
    assert [tensor.name for tensor in graph.outputs] == ["q", "y"] and ops(graph) == ["Exp", "Neg"]


def test_an_output_of_a_subgraph_cannot_be_an_outer_value() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2] x, bool c) => (float[2] y) {{
            a = Exp (x)
            p = If (c) <
                then_branch = t () => (float[2] b) {{ b = Exp (x) }},
                else_branch = e () => (float[2] d) {{ d = Neg (x) }}
            >
            y = Mul (a, p)
        }}
    """)
    changed, ctx = run_pass(ELIMINATE, graph)
    assert not changed and "'b' is an output of 't' and 'a' is produced outside it" in ctx.refusals[0].what


def test_nodes_that_hold_graphs_stay_apart() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2] x, bool c) => (float[2] y) {{
            p = If (c) <
                then_branch = t1 () => (float[2] a1) {{ a1 = Exp (x) }},
                else_branch = e1 () => (float[2] b1) {{ b1 = Neg (x) }}
            >
            q = If (c) <
                then_branch = t2 () => (float[2] a2) {{ a2 = Exp (x) }},
                else_branch = e2 () => (float[2] b2) {{ b2 = Neg (x) }}
            >
            y = Mul (p, q)
        }}
    """)
    assert not run_pass(ELIMINATE, graph)[0]


def test_the_number_of_outputs_counts() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[1,6] x) => (float[1,2] y) {{
            a, b = Split <axis = 1> (x)
            c, d, e = Split <axis = 1> (x)
            y = Sum (c, d, e)
        }}
    """)
    assert not run_pass(ELIMINATE, graph)[0]


def test_before_opset_7_operands_have_an_order() -> None:
    head = '<ir_version: 3, opset_import: ["" : 6]>'
    graph = model("a = Add (x, z) b = Add (z, x) y = Mul (a, b)", head=head)
    assert not run_pass(ELIMINATE, graph)[0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["Add", "Sub", "Mul", "Max", "Neg", "Abs"]), st.integers(0, 7), st.integers(0, 7)),
        min_size=1,
        max_size=25,
    )
)
def test_random_graphs_compute_the_same_and_end_without_equal_nodes(nodes: list[tuple[str, int, int]]) -> None:
    names, lines = ["x", "z"], []
    for index, (op, left, right) in enumerate(nodes):
        operands = [names[-1 - left % len(names)], names[-1 - right % len(names)]][: 1 if op in ("Neg", "Abs") else 2]
        names.append(f"v{index}")
        lines.append(f"v{index} = {op} ({', '.join(operands)})")
    graph = model(f"{' '.join(lines)} y = Sum ({', '.join(names)})")
    before = len(graph.nodes)
    changed, _ = run_pass(ELIMINATE, graph.copy())
    check_pass(ELIMINATE, graph, expect_change=changed)
    keys = {(node.op, *(tensor.name for tensor in node.inputs)) for node in graph.nodes}
    assert len(keys) == len(graph.nodes) and changed == (len(graph.nodes) < before)
