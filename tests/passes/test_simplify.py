"""`simplify`: onnxsim as a pass, which loses nothing that a file says and breaks no model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxopt import ir
from onnxopt.errors import BadModel, BadOption
from onnxopt.passes import simplify
from onnxopt.passes.simplify import Simplify
from onnxopt.runtime.child import ChildFailed
from tests.passes.checks import check_golden, check_pass, check_refusal, ops, parse, run_pass

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
FOLDABLE = f"""
    {HEAD}
    g (float[N,4] x) => (float[N,4] y) <float[4] w = {{1, 2, 3, 4}}, float[4] v = {{4, 3, 2, 1}}> {{
        [sum] k = Add (w, v)
        a = Identity (x)
        b = Mul (a, k)
        y = Relu (b)
    }}
"""


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Spare the interpreters: only tests that ask for `child` start one."""

    def run_here(target: str, model: bytes, *, timeout: float, **options: Any) -> bytes:
        try:
            return simplify.simplified(model, **options)
        except RuntimeError as error:
            raise ChildFailed(f"{target} raised RuntimeError: {error}") from error

    if "child" not in request.fixturenames:
        monkeypatch.setattr(simplify, "run_in_child", run_here)


@pytest.fixture
def child() -> None:
    """onnxsim runs in a process of its own, as it does outside tests."""


def test_golden() -> None:
    check_golden(Simplify(), parse(FOLDABLE), "a sum of constants and an Identity")


def test_the_result_computes_the_same_and_is_simple() -> None:
    graph = parse(FOLDABLE)
    ctx = check_pass(Simplify(), graph)
    assert ops(graph) == ["Mul", "Relu"]
    assert [rewrite.what for rewrite in ctx.rewrites] == ["simplified: 4 nodes became 2"]


def test_functions_and_subgraphs_survive() -> None:
    graph = parse("""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]>
        g (float[2] x, bool c) => (float[2] y) {
            o = Identity (x)
            p = If (c) <
                then_branch = t () => (float[2] t1) { [inner] t1 = Exp (o) },
                else_branch = e () => (float[2] e1) { e1 = Neg (o) }
            >
            y = local.twice (p)
        }
        <opset_import: ["" : 17], domain: "local"> twice (a) => (b) { i = Identity (a) b = Add (i, i) }
    """)
    check_pass(Simplify(), graph, {"x": np.array([1, -2], np.float32), "c": np.array(True)})
    assert [node.op for node in ir.every_node(graph)] == ["If", "twice", "Exp", "Neg", "Identity", "Add"]
    assert [node.name for node in ir.every_node(graph)] == ["", "", "inner", "", "", ""]


def test_what_onnxsim_drops_is_kept() -> None:
    model = onnx.parser.parse_model(FOLDABLE)
    model.producer_name, model.domain, model.model_version, model.doc_string = "tool", "org", 7, "whole"
    model.metadata_props.add(key="author", value="me")
    model.graph.doc_string = "inner"
    model.graph.node[2].metadata_props.add(key="from", value="layer")
    model.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "scale"))
    annotation = model.graph.quantization_annotation.add(tensor_name="b")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    graph = ir.from_proto(model)
    assert run_pass(Simplify(), graph)[0]
    after = ir.to_proto(graph)
    for field in (
        "ir_version",
        "producer_name",
        "domain",
        "model_version",
        "doc_string",
        "metadata_props",
        "opset_import",
    ):
        assert getattr(after, field) == getattr(model, field), field
    for field in ("name", "doc_string", "input", "output", "quantization_annotation"):
        assert getattr(after.graph, field) == getattr(model.graph, field), field
    assert after.graph.node[0].metadata_props == model.graph.node[2].metadata_props
    assert [tensor.name for tensor in after.graph.initializer] == ["k", "scale"]


def test_an_input_with_a_default_stays_an_input() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[4] x, float[4] w = {{1, 2, 3, 4}}) => (float[4] y) {{
            n = Neg (w) a = Identity (x) y = Mul (a, n)
        }}
    """)
    check_pass(Simplify(), graph, {"x": np.ones(4, np.float32), "w": np.full(4, 3, np.float32)})
    assert ops(graph) == ["Neg", "Mul"]
    assert isinstance(graph.inputs[1], ir.Variable) and graph.inputs[1].default is not None


def test_old_models_keep_their_inputs() -> None:
    graph = parse("""
        <ir_version: 3, opset_import: ["" : 9]>
        g (float[4] x, float[4] w) => (float[4] y) <float[4] w = {1, 2, 3, 4}> { n = Neg (w) y = Mul (x, n) }
    """)
    check_pass(Simplify(), graph, {"x": np.ones(4, np.float32)})
    assert ops(graph) == ["Mul"] and [tensor.name for tensor in graph.inputs] == ["x"]
    model = ir.to_proto(graph)
    assert model.ir_version == 3 and [info.name for info in model.graph.input] == ["x", "n"]  # IR 3 lists constants too


def test_a_simple_model_is_left_alone() -> None:
    check_pass(Simplify(), parse(f"{HEAD} g (float[2] x) => (float[2] y) {{ y = Relu (x) }}"), expect_change=False)


def test_unknown_operators_are_carried_through() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17, "vendor" : 1]>
        g (float[2] x) => (float[2] y) { a = Identity (x) b = vendor.Foo <k = 3> (a) y = Relu (b) }
    """)
    assert run_pass(Simplify(), graph)[0]
    assert ops(graph) == ["Foo", "Relu"] and graph.nodes[0].attrs == {"k": 3}


BIG = f"""
    {HEAD}
    g (float[1000,1000] x) => (float[1000,1000] y) <int64[2] shape = {{1000, 1000}}> {{
        a = ConstantOfShape <value = float[1] {{2}}> (shape)
        b = Identity (x)
        y = Mul (b, a)
    }}
"""


@pytest.mark.parametrize(
    ("options", "model", "expected"),
    [
        ({}, BIG, ["ConstantOfShape", "Mul"]),
        ({"max_tensor": 4_000_000}, BIG, ["Mul"]),
        ({"fold_constants": False}, FOLDABLE, ["Add", "Mul", "Relu"]),
        ({"skip_optimizers": ("eliminate_identity",)}, FOLDABLE, ["Identity", "Mul", "Relu"]),
    ],
)
def test_options_do_what_they_say(options: dict[str, Any], model: str, expected: list[str]) -> None:
    graph = parse(model)
    assert run_pass(Simplify(**options), graph)[0] and ops(graph) == expected


@pytest.mark.parametrize(("infer_shapes", "shape"), [(True, ["N", 4]), (False, None)])
def test_shape_inference_can_be_left_out(infer_shapes: bool, shape: list[int | str] | None) -> None:
    graph = parse(FOLDABLE)
    run_pass(Simplify(infer_shapes=infer_shapes), graph)
    assert graph.nodes[0].outputs[0].shape == shape


@pytest.mark.usefixtures("child")
def test_an_unknown_optimizer_is_an_error() -> None:
    with pytest.raises(BadOption, match="no optimizer 'eliminate_identit'; did you mean eliminate_identity"):
        run_pass(Simplify(skip_optimizers=("eliminate_identit",)), parse(FOLDABLE))


@pytest.mark.usefixtures("child")
def test_it_runs_in_a_process_of_its_own() -> None:
    graph = parse(FOLDABLE)
    assert run_pass(Simplify(), graph)[0] and ops(graph) == ["Mul", "Relu"]


@pytest.mark.usefixtures("child")
def test_time_is_limited() -> None:
    graph = parse(FOLDABLE)
    changed, ctx = run_pass(Simplify(timeout=0.01), graph)
    assert not changed and ctx.warnings == [
        "simplify: the model stays as it was: onnxsim took longer than 0.01 s and was stopped"
    ]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ChildFailed(f"{simplify._TARGET} was killed by SIGSEGV"), "onnxsim was killed by SIGSEGV"),
        (BadModel("its result fails its own check"), "its result fails its own check"),
    ],
)
def test_a_failure_is_a_warning(monkeypatch: pytest.MonkeyPatch, failure: Exception, reason: str) -> None:
    def fail(*args: Any, **options: Any) -> bytes:
        raise failure

    monkeypatch.setattr(simplify, "run_in_child", fail)
    graph = parse(FOLDABLE)
    before = ir.to_text(graph)
    changed, ctx = run_pass(Simplify(), graph)
    assert not changed and ir.to_text(graph) == before
    assert ctx.warnings == [f"simplify: the model stays as it was: {reason}"]


def test_a_result_with_other_outputs_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    other = onnx.parser.parse_model(f"{HEAD} g (float[N,4] x) => (float[N,4] z) {{ z = Relu (x) }}")
    monkeypatch.setattr(simplify, "run_in_child", lambda *args, **options: other.SerializeToString())
    changed, ctx = run_pass(Simplify(), parse(FOLDABLE))
    assert not changed and "the model has other outputs now: without ['y'], with ['z']" in ctx.warnings[0]


def test_models_over_2_gb_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simplify, "_LIMIT", 16)
    check_refusal(Simplify(), parse(FOLDABLE), "onnxsim takes models of up to 2 GB")


def test_it_is_one_rewrite_that_can_be_held_back() -> None:
    graph = parse(FOLDABLE)
    changed, ctx = run_pass(Simplify(), graph, limit=0)
    assert not changed and not ctx.rewrites and len(graph.nodes) == 4
