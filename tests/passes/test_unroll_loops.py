"""`unroll-loops`: copies of the body stand in the place of a loop whose few trips are known."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxopt import ir
from onnxopt.passes.unroll_loops import UnrollLoops
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass

UNROLL = UnrollLoops()
HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'
X = {"x": np.array([1, -2], np.float32)}
BODY = "co = Identity (ci) f = Cast <to = 1> (i) t = Add (s, f) so = Mul (t, x)"


def loop(
    trips: str = "int64 n = {3}", inputs: str = "n, ", body: str = BODY, head: str = HEAD, more: str = ""
) -> ir.Graph:
    return parse(f"""
        {head} g (float[2] x, bool k) => (float[2] y{", float[a, 2] z" if more else ""}) <{trips}, bool no = {{0}}> {{
            y{", z" if more else ""} = Loop ({inputs}, x) <
                body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so{more}) {{ {body} }}
            >
        }}
    """)


def without_loops(graph: ir.Graph) -> bool:
    return not any(node.op in ("Loop", "Scan") for node in ir.every_node(graph))


def test_golden() -> None:
    graph = loop(body=f"{BODY} u = Neg (so)", more=", float[2] u")
    check_golden(UNROLL, graph, "three trips of a Loop with a scan output")


def test_golden_scan() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] h, float[3, 2] x) => (float[2] y, float[3, 2] z) {{
            y, z = Scan <num_scan_inputs = 1, body = b (float[2] s, float[2] e) => (float[2] so, float[2] o) {{
                so = Add (s, e) o = Neg (so)
            }}> (h, x)
        }}
    """)
    check_golden(UNROLL, graph, "a Scan of length 3")


@pytest.mark.parametrize("trips", range(5))
def test_loops_compute_what_they_did(trips: int) -> None:
    graph = loop(f"int64 n = {{{trips}}}")
    check_pass(UNROLL, graph, {**X, "k": np.array(True)})
    assert without_loops(graph) and ops(graph).count("Mul") == trips


@pytest.mark.parametrize("trips", [1, 2, 4])
def test_scan_outputs(trips: int) -> None:
    graph = loop(f"int64 n = {{{trips}}}", body=f"{BODY} u = Neg (so)", more=", float[2] u")
    check_pass(UNROLL, graph, {**X, "k": np.array(True)})
    assert without_loops(graph)


@pytest.mark.parametrize(
    ("inputs", "body", "trips"),
    [
        ("n, no", BODY, 0),
        ("k2, no", BODY, 0),
        (", yes", BODY.replace("Identity (ci)", "Identity (no)"), 1),
        ("n, yes", BODY.replace("Identity (ci)", "Constant <value = bool {0}> ()"), 1),
        ("n, yes", BODY.replace("Identity (ci)", "Constant <value = bool {1}> ()"), 3),
        ("n, yes", BODY.replace("co = Identity (ci)", "q = Identity (ci) co = Identity (q)"), 3),
    ],
)
def test_conditions_that_are_known(inputs: str, body: str, trips: int) -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, int64 k2) => (float[2] y) <int64 n = {{3}}, bool no = {{0}}, bool yes = {{1}}> {{
            y = Loop ({inputs}, x) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) {{ {body} }}>
        }}
    """)
    check_pass(UNROLL, graph, {**X, "k2": np.array(2)})
    assert without_loops(graph) and ops(graph).count("Mul") == trips


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (loop("int64 n = {9}"), "9 trips are more than max-trips=8"),
        (loop(inputs="n, k"), "the condition to begin is not a constant"),
        (loop(body=BODY.replace("Identity (ci)", "Not (ci)")), "the condition to go on is computed"),
        (loop("int64 n = {0}", body=f"{BODY} u = Neg (so)", more=", float[2] u"), "no trip at all"),
        (loop("bool yes = {1}", inputs=", yes"), "it never ends"),
    ],
)
def test_refusals(graph: ir.Graph, reason: str) -> None:
    check_refusal_in_run(graph, reason)


def test_refuses_a_count_that_is_computed() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, int64 m) => (float[2] y) {{
            y = Loop (m, , x) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) {{ {BODY} }}>
        }}
    """)
    changed, ctx = run_pass(UNROLL, graph)
    assert not changed and ctx.refusals[0].what == "the trip count is not a constant"


def test_limits_are_options() -> None:
    changed, ctx = run_pass(UnrollLoops(max_trips=2), loop())
    assert not changed and ctx.refusals[0].what == "3 trips are more than max-trips=2"
    changed, ctx = run_pass(UnrollLoops(max_nodes=11), loop())
    assert not changed and ctx.refusals[0].what == "12 nodes would be more than max-nodes=11"
    assert run_pass(UnrollLoops(max_nodes=12), loop())[0]
    check_pass(UnrollLoops(max_trips=20), loop("int64 n = {9}"), {**X, "k": np.array(True)})


def test_state_that_changes_its_shape_and_values_that_change_places() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[n] y, float[2] p, float[2] q) <int64 n = {{3}}> {{
            e = Exp (x)
            y, p, q = Loop (n, , x, x, e) <
                body = b (int64 i, bool ci, float[m] s, float[2] a, float[2] c) =>
                    (bool ci, float[k] so, float[2] c, float[2] a) {{ so = Concat <axis = 0> (s, a) }}
            >
        }}
    """)
    run_pass(UNROLL, graph)
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)
    assert ops(graph) == ["Exp", "Concat", "Concat", "Concat", "Identity", "Identity"]
    assert [node.inputs[1].name for node in graph.nodes[1:4]] == ["x", "e", "x"]
    assert [node.inputs[0].name for node in graph.nodes[4:]] == ["e", "x"]


def test_nested_loops_and_branches_with_names_of_their_own() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x, bool c) => (float[2] y) <int64 n = {{2}}, int64 m = {{3}}> {{
            t = Exp (x)
            z = Loop (n, , x) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) {{
                co = Identity (ci)
                u = Loop (m, , s) <body = b2 (int64 j, bool cj, float[2] r) => (bool cp, float[2] ro) {{
                    cp = Identity (cj)
                    v = If (c) <
                        then_branch = th () => (float[2] w) {{ q = Cast <to = 1> (j) w = Add (r, q) }},
                        else_branch = el () => (float[2] w) {{ q = Cast <to = 1> (i) w = Sub (r, q) }}
                    >
                    ro = Add (v, t)
                }}>
                so = Mul (u, x)
            }}>
            y = Add (z, t)
        }}
    """)
    for value in (False, True):
        check_pass(UNROLL, graph.copy(), {**X, "c": np.array(value)})
    run_pass(UNROLL, graph)
    assert without_loops(graph) and ops(graph).count("If") == 6
    names = [output.name for node in ir.every_node(graph) for output in node.outputs]
    assert len(names) == len(set(names))


def test_a_trip_count_that_the_trip_of_a_loop_around_it_gives() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) <int64 n = {{3}}> {{
            y = Loop (n, , x) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) {{
                co = Identity (ci)
                so = Loop (i, , s) <body = b2 (int64 j, bool cj, float[2] r) => (bool cp, float[2] ro) {{
                    cp = Identity (cj) ro = Add (r, x)
                }}>
            }}>
        }}
    """)
    check_pass(UNROLL, graph, X)
    assert without_loops(graph) and ops(graph).count("Add") == 3


def test_initializers_of_the_body_and_in_functions() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) <int64 n = {{2}}, float[2] w = {{5, 6}}> {{
            z = Loop (n, , x) <
                body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) <float[2] w = {{1, 2}}>
                    {{ co = Identity (ci) so = Add (s, w) }}
            >
            v = local.f (z)
            y = Add (v, w)
        }}
        <opset_import: ["" : 17], domain: "local"> f (x) => (y) {{
            n = Constant <value = int64 {{2}}> ()
            y = Loop (n, , x) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) {{
                co = Identity (ci) so = Add (s, x)
            }}>
        }}
    """)
    check_pass(UNROLL, graph, X)
    assert without_loops(graph)


def test_numbers_of_shape_1() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) <int64[1] n = {{3}}> {{
            y = Loop (n, , x) <body = b (int64[1] i, bool[1] ci, float[2] s) => (bool[1] co, float[2] so) {{
                co = Identity (ci) f = Cast <to = 1> (i) so = Add (s, f)
            }}>
        }}
    """)
    check_pass(UNROLL, graph, X)


def scan(opset: int, **attributes: object) -> ir.Graph:
    """Two scan inputs of [2, 3] and two scan outputs, one state."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["s", "e"], ["t"]),
            helper.make_node("Sub", ["t", "f"], ["so"]),
            helper.make_node("Neg", ["so"], ["o"]),
            helper.make_node("Abs", ["so"], ["p"]),
        ],
        "b",
        [helper.make_tensor_value_info(name, 1, [3]) for name in "sef"],
        [helper.make_tensor_value_info(name, 1, [3]) for name in ("so", "o", "p")],
    )
    shapes = {"h": [3], "x": [2, 3], "w": [2, 3]}
    for axis, name in zip(attributes.get("scan_input_axes", [0, 0]), "xw", strict=True):  # type: ignore[call-overload]
        shapes[name] = [3, 2] if axis in (1, -1) else [2, 3]
    graph = helper.make_graph(
        [helper.make_node("Scan", ["h", "x", "w"], ["y", "o1", "p1"], body=body, num_scan_inputs=2, **attributes)],
        "g",
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("y", 1, [3])]
        + [helper.make_tensor_value_info(name, 1, ["a", "b"]) for name in ("o1", "p1")],
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"scan_input_axes": [0, 1], "scan_input_directions": [1, 0]},
        {"scan_output_axes": [1, 0], "scan_output_directions": [0, 1]},
        {"scan_input_axes": [-1, 0], "scan_output_axes": [-1, -2]},
    ],
)
def test_scans(opset: int, attributes: dict[str, list[int]]) -> None:
    graph = scan(opset, **attributes)
    if opset == 9 and any(axis < 0 for axes in attributes.values() for axis in axes):
        check_refusal(UNROLL, graph, "counted from the end")
    else:
        check_pass(UNROLL, graph)
        assert without_loops(graph)


def test_a_scan_of_a_length_that_nothing_tells() -> None:
    text = """
        {} g (float[2] h, float[n, 2] x) => (float[2] y) {{
            y = Scan <num_scan_inputs = 1, body = b (float[2] s, float[2] e) => (float[2] so) {{ so = Add (s, e) }}>
                (h, x)
        }}
    """
    graph = parse(text.format(HEAD))
    changed, ctx = run_pass(UNROLL, graph)
    assert not changed and ctx.refusals[0].what == "no length of what it scans is certain"
    old = parse("""
        <ir_version: 4, opset_import: ["" : 8]> g (float[1, 2] h, float[1, 3, 2] x) => (float[1, 2] y) {
            y = Scan <num_scan_inputs = 1, body = b (float[2] s, float[2] e) => (float[2] so) { so = Add (s, e) }>
                (, h, x)
        }
    """)
    assert not run_pass(UNROLL, old)[0]


def test_symbolic_dimensions_beside_the_length_at_two_bindings() -> None:
    for size in (1, 4):
        graph = parse(f"""
            {HEAD} g (float[n] h, float[3, n] x) => (float[n] y, float[3, n] z) {{
                y, z = Scan <num_scan_inputs = 1, body = b (float[n] s, float[n] e) => (float[n] so, float[n] o) {{
                    so = Add (s, e) o = Identity (so)
                }}> (h, x)
            }}
        """)
        check_pass(UNROLL, graph, {"h": np.ones(size, np.float32), "x": np.ones((3, size), np.float32)})


def test_sequences_that_are_carried() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[k] y) <int64 n = {{2}}> {{
            e = SequenceEmpty <dtype = 1> ()
            s = Loop (n, , e) <body = b (int64 i, bool ci, seq(float[2]) p) => (bool co, seq(float[2]) po) {{
                co = Identity (ci) po = SequenceInsert (p, x)
            }}>
            y = ConcatFromSequence <axis = 0> (s)
        }}
    """)
    check_pass(UNROLL, graph, X)
    assert without_loops(graph)


OLD = """
    <ir_version: 3, opset_import: ["" : {opset}]>
    g (float[2] x, bool c, int64 n, bool k) => (float[2] y) <int64 n = {{2}}, bool k = {{1}}> {{ {nodes} }}
"""
OLD_LOOP = """Loop (n, k, x) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) {
    co = Identity (ci) f = Cast <to = 1> (i) so = Add (s, f)
}>"""
OLD_IF = f"""y = If (c) <
    then_branch = t () => (float[2] t1) {{ t1 = {OLD_LOOP} }}, else_branch = e () => (float[2] e1) {{ e1 = Neg (x) }}
>"""


def test_ir_version_3() -> None:
    graph = parse(OLD.format(opset=8, nodes=f"y = {OLD_LOOP}"))
    check_pass(UNROLL, graph, {**X, "c": np.array(True)})
    assert ops(graph) == ["Cast", "Add", "Cast", "Add"]
    graph = parse(OLD.format(opset=9, nodes=OLD_IF))
    check_pass(UNROLL, graph, {**X, "c": np.array(True)})
    assert [node.op for node in ir.every_node(graph)].count("Constant") == 2
    check_refusal_in_run(parse(OLD.format(opset=8, nodes=OLD_IF)), "opset 8 has no Constant of integers")


def check_refusal_in_run(graph: ir.Graph, reason: str) -> None:
    changed, ctx = run_pass(UNROLL, graph)
    assert not changed and any(reason in refusal.what for refusal in ctx.refusals)


def test_a_limit_leaves_the_rest() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) <int64 n = {{2}}> {{
            z = Loop (n, , x) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) {{ {BODY} }}>
            y = Loop (n, , z) <body = b (int64 i, bool ci, float[2] s) => (bool co, float[2] so) {{ {BODY} }}>
        }}
    """)
    run_pass(UNROLL, graph, limit=1)
    assert ops(graph).count("Loop") == 1
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)
