"""`fuse-conv-bn`: per-channel operations in a row with no layer next to them become one BatchNormalization."""

from __future__ import annotations

import re

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.fuse_conv_bn import FuseConvBn
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, random_feeds, run, run_pass
from tests.passes.conv_bn import BN
from tests.passes.random_weights import ops, random_layers, random_model, random_proto

FUSE = FuseConvBn()
DATA = "float[2,4,7,6] x"


def chain(body: str, weights: str = "", *, opset: int = 17, data: str = DATA) -> ir.Graph:
    """Operations between two Relus."""
    body = f"i = Relu (x) {body.replace('(x', '(i')} y = Relu (o)"
    return random_layers(body, f"{BN}, float[4,1,1] k, float[4,1,1] t{weights}", opset=opset, data=data)


def test_golden_densenet() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,2,2,2] x) => (float[1,2,2,2] y)
        <float[2] s = {1, 3}, float[2] b = {0.5, 0.25}, float[2] m = {2, 1}, float[2] v = {3, 8},
         float[2,1,1] k = {2, 10}, float[2,1,1] t = {1, -1}>
        {
            r = Relu (x)
            [norm] c = BatchNormalization <epsilon = 1.0> (r, s, b, m, v)
            [scale] d = Mul (c, k)
            [shift] e = Add (d, t)
            y = Relu (e)
        }
    """)
    check_golden(FUSE, graph.copy(), "BatchNormalization, Mul and Add alone")
    check_pass(FUSE, graph)


def test_golden_mul_and_add_upon_an_image() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1,2,2,2] x) => (float[1,2,2,2] y)
        <float[2,1,1] k = {2, 10}, float[2,1,1] t = {1, -1}>
        { [scale] d = Mul (x, k) [shift] y = Add (d, t) }
    """)
    check_golden(FUSE, graph.copy(), "Mul and Add upon an image")
    check_pass(FUSE, graph)


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 15, 21])
@pytest.mark.parametrize(
    "body",
    [
        "a = BatchNormalization (x, s, b, m, var) c = Mul (a, k) o = Add (c, t)",
        "a = Mul (x, k) c = Add (a, t) o = BatchNormalization (c, s, b, m, var)",
        "a = Sub (t, x) c = BatchNormalization (a, s, b, m, var) o = Div (c, var4)",
        "a = BatchNormalization (x, s, b, m, var) o = BatchNormalization (a, b, s, s, var)",
        "a = Mul (x, k) c = Add (a, t) d = Mul (c, two) o = Sub (d, k)",
        "a = Div (x, var4) o = Sub (k, a)",
        "a = Mul (x, two) o = BatchNormalization (a, s, b, m, var)",
    ],
)
def test_chains(body: str, opset: int) -> None:
    graph = chain(body, ", float[4,1,1] var4, float two", opset=opset)
    check_pass(FUSE, graph)
    assert ops(graph) == ["Relu", "BatchNormalization", "Relu"]


def test_the_batch_norm_keeps_its_name_mean_variance_and_epsilon() -> None:
    graph = chain("a = Mul (x, k) [bn] c = BatchNormalization <epsilon = 0.25> (a, s, b, m, var) o = Add (c, t)")
    bn = graph.nodes[2]
    mean, variance = bn.inputs[3:]
    check_pass(FUSE, graph)
    assert graph.nodes[1] is bn and bn.name == "bn" and bn.outputs[0].name == "o" and bn.attrs["epsilon"] == 0.25
    assert bn.inputs[3] is mean and bn.inputs[4] is variance


def test_parameters_that_other_nodes_read_are_left_to_them() -> None:
    graph = chain(
        "a = BatchNormalization (x, s, b, m, var) c = Mul (a, k) d = Relu (c) e = BatchNormalization (d, s, b, m, var) "
        "o = Relu (e)"
    )
    scale = graph.nodes[1].inputs[1]
    before = scale.read().copy()
    check_pass(FUSE, graph)
    assert graph.nodes[3].inputs[1] is scale
    np.testing.assert_array_equal(scale.read(), before)


def test_two_runs_with_something_else_between() -> None:
    graph = chain(
        "a = BatchNormalization (x, s, b, m, var) c = Mul (a, k) d = Add (c, whole) e = Mul (d, k) o = Add (e, t)",
        ", float[4,7,6] whole",
    )
    check_pass(FUSE, graph)
    assert ops(graph) == ["Relu", "BatchNormalization", "Add", "BatchNormalization", "Relu"]


def test_what_a_padded_conv_cannot_take() -> None:
    graph = random_layers(
        "i = Relu (x) a = BatchNormalization (i, s, b, m, var) c = Mul (a, k) d = Add (c, t) "
        "y = Conv <pads = [1, 1, 1, 1]> (d, w)",
        f"{BN}, float[4,1,1] k, float[4,1,1] t, float[3,4,3,3] w",
        data=DATA,
    )
    check_pass(FUSE, graph)
    assert ops(graph) == ["Relu", "BatchNormalization", "Conv"]


def test_every_reader_of_a_conv_has_its_own_chain() -> None:
    graph = random_layers(
        "c = Conv (x, w) a = Mul (c, k) d = Add (a, t) e = Mul (c, t) f = Add (e, k) y = Concat <axis = 1> (d, f)",
        "float[4,1,1] k, float[4,1,1] t, float[4,4,3,3] w",
        data=DATA,
    )
    check_pass(FUSE, graph)
    assert sorted(ops(graph)) == ["BatchNormalization", "BatchNormalization", "Concat", "Conv"]


def test_symbolic_samples_and_sizes_at_two_bindings() -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[n,4,h,w] x) => (float[n,4,h,w] y)
        <{BN}, float[4,1,1] k, float[4,1,1] t> {{ a = Mul (x, k) c = Add (a, t) y = Relu (c) }}"""
    for sizes in ((1, 4, 5, 3), (3, 4, 2, 8)):
        check_pass(FUSE, random_model(text), {"x": np.random.default_rng(0).normal(size=sizes).astype(np.float32)})


def test_in_a_subgraph_upon_an_outer_value() -> None:
    graph = random_model(f"""
        <ir_version: 8, opset_import: ["" : 17]> g (float[2,4,7,6] x, bool which) => (float[2,4,7,6] y)
        <{BN}, float[4,1,1] k> {{
            r = Relu (x)
            y = If (which) <
                then_branch = then () => (float[2,4,7,6] p) {{
                    a = BatchNormalization (r, s, b, m, var)
                    p = Mul (a, k)
                }},
                else_branch = otherwise () => (float[2,4,7,6] q) {{ q = Identity (r) }}
            >
        }}
    """)
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 4, 7, 6)).astype(np.float32), "which": np.array(True)}
    check_pass(FUSE, graph, feeds)
    assert [node.op for node in ir.every_node(graph)].count("Mul") == 0


def test_in_a_function_behind_a_conv() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[1,2,2,2] x) => (float[1,2,2,2] y, float[1,2,2,2] z) { y, z = local.block (x) }
        <domain: "local", opset_import: ["" : 17]>
        block (x) => (y, c) {
            w = Constant <value = float[2,2,1,1] {1, 2, 3, 4}> ()
            k = Constant <value = float[2,1,1] {2, 5}> ()
            t = Constant <value = float[2,1,1] {3, 7}> ()
            c = Conv (x, w)
            d = Mul (c, k)
            y = Add (d, t)
        }
    """)
    check_pass(FUSE, graph)
    assert [node.op for node in graph.functions[0].nodes] == ["Constant", "Conv", "BatchNormalization"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a = Reshape (x, to) c = Mul (a, k) o = Add (c, t)", "not certain to have channels"),
        ("a = Mul (x, one) o = Add (a, t)", "not one number for each channel|costs less"),
        ("a = Mul (x, k) o = Mul (a, t)", "only scale or only shift"),
        ("a = Add (x, k) o = Sub (a, t)", "only scale or only shift"),
        (
            "a, r, v = BatchNormalization <training_mode = 1> (x, s, b, m, var) o = Mul (a, k)",
            "training mode|costs less",
        ),
        (
            "a = Reshape (x, flat) c = InstanceNormalization (a, two, two) d = Reshape (c, image) e = Mul (d, k) "
            "o = Add (e, t)",
            "GroupNormalization",
        ),
    ],
)
def test_refusals(body: str, reason: str) -> None:
    proto = random_proto(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[2,4,7,6] x, int64[4] to) => (float[n,c,h,w] y)
        <{BN}, float[4,1,1] k, float[4,1,1] t, float[2] two, float[4,7,6] one> {{
        flat = Constant <value = int64[3] {{2, 2, -1}}> () image = Constant <value = int64[4] {{2, 4, 7, 6}}> ()
        {body} y = Relu (o) }}"""
    )
    changed, ctx = run_pass(FUSE, ir.from_proto(proto))
    assert not changed
    assert [said.what for said in ctx.refusals if re.search(reason, said.what)], ctx.refusals


def test_an_intermediate_output_ends_the_chain() -> None:
    graph = random_model(f"""
        <ir_version: 8, opset_import: ["" : 17]> g (float[2,4,7,6] x) => (float[2,4,7,6] y, float[2,4,7,6] a)
        <{BN}, float[4,1,1] k> {{ a = BatchNormalization (x, s, b, m, var) y = Mul (a, k) }}
    """)
    check_pass(FUSE, graph, expect_change=False)


def test_a_declared_shape_is_not_believed() -> None:
    """One channel that arithmetic makes four, declared as four."""
    graph = random_model("""
        <ir_version: 8, opset_import: ["" : 17]> g (float[1,c,2,2] x) => (float[1,4,2,2] y)
        <float[1,4,2,2] r, float[4,1,1] k, float[4,1,1] t>
        { r = Relu (x) a = Mul (r, k) y = Add (a, t) }
    """)
    ctx = check_pass(FUSE, graph, {"x": np.ones((1, 1, 2, 2), np.float32)}, expect_change=False)
    assert "not certain to have channels" in ctx.refusals[0].what


def test_doubles_have_a_batch_norm_and_float16_keeps_its_own() -> None:
    graph = random_model("""<ir_version: 8, opset_import: ["" : 17]> g (double[2,4,7,6] x) => (double[2,4,7,6] y)
        <double[4,1,1] k, double[4,1,1] t> { a = Mul (x, k) y = Add (a, t) }""")
    check_pass(FUSE, graph)
    assert ops(graph) == ["BatchNormalization"]
    graph = random_model("""<ir_version: 8, opset_import: ["" : 17]> g (float16[2,4,7,6] x) => (float16[2,4,7,6] y)
        <float16[4,1,1] k, float16[4,1,1] t> { a = Mul (x, k) y = Add (a, t) }""")
    check_refusal(FUSE, graph, "BatchNormalization of float16")


def test_the_limit() -> None:
    graph = chain("a = BatchNormalization (x, s, b, m, var) c = Mul (a, k) o = Add (c, t)")
    changed, ctx = run_pass(FUSE, graph, limit=0)
    assert not changed and not ctx.rewrites


def test_weights_do_not_grow() -> None:
    graph = chain("a = BatchNormalization (x, s, b, m, var) c = Mul (a, k) o = Add (c, t)")
    sizes = [sum(map(len, (t.raw_data for t in ir.to_proto(graph).graph.initializer)))]
    feeds = random_feeds(ir.to_proto(graph))
    before = run(ir.to_proto(graph), feeds)["y"]
    run_pass(FUSE, graph)
    sizes.append(sum(map(len, (t.raw_data for t in ir.to_proto(graph).graph.initializer))))
    assert sizes[1] < sizes[0]
    np.testing.assert_allclose(run(ir.to_proto(graph), feeds)["y"], before, rtol=1e-4, atol=1e-5)
