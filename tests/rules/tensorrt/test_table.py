"""The table for TensorRT: whole, and what it makes parses and builds where TensorRT-RTX is installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.backends.tensorrt.building import attempt
from onnxopt.backends.tensorrt.refusing import hazards
from onnxopt.ir.schema import find_schema
from onnxopt.rules.tensorrt.table import TABLE
from tests.passes.checks import check_refusal, run_pass
from tests.rules.tensorrt.legalized import PASS, check, check_by_reference, model

RNG = np.random.default_rng(0)
POOL = "kernel_shape = [2,2], dilations = [2,2]"


@pytest.mark.parametrize("op", TABLE)
def test_every_operator_is_one(op: str) -> None:
    assert any(find_schema(op, "", opset) for opset in (9, 18, 28)) and TABLE[op]
    assert all(spelling.what and spelling.since >= 7 for spelling in TABLE[op])


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="the extra `tensorrt` is not installed")
def test_what_was_refused_is_built() -> None:
    graph = model(
        "(float[1,2,3,4] q, float[1,1,6,6] x, int32[4] i) => (float[1,2,3,4] a, float[1,1,4,4] m, int32[4] b)",
        f"a = Attention <softcap = 2.0> (q, q, q) m = MaxPool <{POOL}> (x) b = BitwiseXor (i, i)",
        opset=23,
    )
    assert {each.operator for each in attempt(graph).refused} == {"Attention", "MaxPool", "BitwiseXor"}
    done = attempt(onnxopt.run(graph, "legalize-tensorrt,O1", target="tensorrt").graph)
    assert done.ok, done.why


@pytest.mark.parametrize("attributes", ["", "<is_causal = 1>", "<softcap = 2.0>", "<scale = 0.5>"])
@pytest.mark.parametrize("mask", ["", "float", "bool"])
def test_attention(attributes: str, mask: str) -> None:
    given = f", {mask}[3,5] m" if mask else ""
    interface = f"(float[1,4,3,8] q, float[1,2,5,8] k, float[1,2,5,6] v{given}) => (float[1,4,3,6] y)"
    graph = model(interface, f"y = Attention {attributes} (q, k, v{', m' if mask else ''})", opset=23)
    shapes = {"q": (1, 4, 3, 8), "k": (1, 2, 5, 8), "v": (1, 2, 5, 6)}
    feeds = {name: RNG.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    if mask:
        feeds["m"] = RNG.normal(size=(3, 5)).astype("f4") if mask == "float" else np.tri(3, 5, 2, dtype=bool)
    check_by_reference(graph, feeds, gone="Attention")


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
def test_linear_attention_step_by_step(rule: str) -> None:
    inputs = {"linear": "", "gated": ", , d", "delta": ", , , b", "gated_delta": ", , d, b"}[rule]
    interface = "(float[2,3,8] q, float[2,3,8] k, float[2,3,8] v, float[2,3,8] d, float[2,3,2] b)"
    attributes = f'q_num_heads = 2, kv_num_heads = 2, update_rule = "{rule}"'
    body = f"y, s = LinearAttention <{attributes}> (q, k, v{inputs})"
    graph = model(f"{interface} => (float[2,3,8] y, float[2,2,4,4] s)", body, opset=27)
    shapes = {"q": (2, 3, 8), "k": (2, 3, 8), "v": (2, 3, 8), "d": (2, 3, 8), "b": (2, 3, 2)}
    feeds = {name: RNG.normal(size=shape).astype("f4") / 4 for name, shape in shapes.items()}
    check_by_reference(graph, feeds, gone="LinearAttention")


def test_long_linear_attention_is_refused() -> None:
    interface = "(float[1,65,8] q) => (float[1,65,8] y, float[1,2,4,4] s)"
    body = 'y, s = LinearAttention <q_num_heads = 2, kv_num_heads = 2, update_rule = "linear"> (q, q, q)'
    changed, ctx = run_pass(PASS, model(interface, body, opset=27))
    assert not changed and "65 steps: up to 64 are unrolled" in ctx.refusals[0].what


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_truth_values_and_none_at_all(op: str, keep: int) -> None:
    for size, x in ((3, RNG.random((2, 3)) > 0.5), (0, np.zeros((2, 0), bool))):
        shape = "2,1" if keep else "2"
        body = f"y = {op} <keepdims = {keep}> (x, axes)"
        graph = model(f"(bool[2,{size}] x) => (bool[{shape}] y)", body, "int64[1] axes = {1}", opset=20)
        check_by_reference(graph, {"x": x}, gone="")


def test_normalization_that_trains() -> None:
    interface = "(float[4,3,2] x, float[3] s, float[3] b, float[3] rm, float[3] rv)"
    body = "y, m, v = BatchNormalization <training_mode = 1> (x, s, b, rm, rv)"
    graph = model(f"{interface} => (float[4,3,2] y, float[3] m, float[3] v)", body)
    feeds = {name: RNG.normal(size=3).astype("f4") for name in ("s", "b", "rm")}
    feeds |= {"x": RNG.normal(size=(4, 3, 2)).astype("f4"), "rv": RNG.random(3).astype("f4")}
    check_by_reference(graph, feeds, gone="BatchNormalization")


@pytest.mark.parametrize(
    ("op", "attributes"),
    [("MaxPool", POOL), ("AveragePool", POOL), ("LpPool", f"{POOL}, p = 1"), ("LpPool", "kernel_shape = [3,3], p = 3")],
)
def test_pools(op: str, attributes: str) -> None:
    graph = model("(float[1,2,6,6] x) => (float[1,2,4,4] y)", f"y = {op} <{attributes}> (x)", opset=19)
    check(graph, gone="" if op == "AveragePool" else op)


@pytest.mark.parametrize(
    "body",
    [
        "y = MaxPool <kernel_shape = [2,2], ceil_mode = 1> (x)",
        "y = LpPool <kernel_shape = [2,2], p = 2> (x)",
        'y = Resize <mode = "cubic"> (x,,,s)',
        "y = LayerNormalization (x, w)",
        "y = ReduceL1 (x)",
    ],
)
def test_what_it_takes_stays(body: str) -> None:
    weights = "float[6] w = {1,1,1,1,1,1}, int64[4] s = {1,2,9,9}"
    _, ctx = run_pass(PASS, model("(float[1,2,6,6] x) => (y)", body, weights))
    assert not ctx.rewrites and not ctx.refusals


def test_boxes_are_refused_with_the_reason() -> None:
    graph = model("(float[1,4,4] b, float[1,2,4] s) => (int64[n,3] y)", "y = NonMaxSuppression (b, s)")
    check_refusal(PASS, graph, "the size of what it gives out depends on the values")


def test_a_model_that_says_no_version_of_its_operators_is_refused() -> None:
    proto = ir.to_proto(model("(float[2] x) => (float[2] y)", "y = Relu (x)"))
    del proto.opset_import[:]
    assert [each.node for each in hazards(ir.from_proto(proto))] == ["the graph"]
