from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from onnxopt import ir
from onnxopt.passes.fold_constants import FoldConstants
from onnxopt.runtime.session import NotRunnable, Session
from tests.folding.models import constant, floats, model, op, ops
from tests.passes.checks import check_pass, check_refusal, run_pass

FOLD = FoldConstants()


def test_one_failing_node_is_reported_and_the_rest_is_folded() -> None:
    nodes = [op("Add", "one one", "v0"), *(op("Add", f"v{i} one", f"v{i + 1}") for i in range(50))]
    nodes += [op("Gather", "v20 nine", "bad", name="wrong"), op("Neg", "bad", "worse"), op("Sum", "x v50 worse", "y")]
    graph = model(nodes, {"one": floats(1, 1), "nine": np.array([9])})
    changed, ctx = run_pass(FOLD, graph)
    assert changed and ops(graph) == ["Gather", "Neg", "Sum"]
    assert len(ctx.warnings) == 1 and "Gather wrong" in ctx.warnings[0] and "out of" in ctx.warnings[0]
    assert (constant(graph, "v20") == 22).all() and (constant(graph, "v50") == 52).all()
    assert [refusal.where for refusal in ctx.refusals] == ["Gather wrong"]


def test_a_kernel_that_is_missing_is_looked_for_once() -> None:
    nodes: list[onnx.NodeProto] = []
    for i in range(100):
        nodes += [op("Sin", "h", f"s{i}"), op("Neg", "f", f"n{i}"), op("Cast", f"s{i}", f"c{i}", to=1)]
    nodes.append(op("Sum", " ".join(["x", *(f"{kind}{i}" for kind in "nc" for i in range(100))]), "y"))
    graph = model(nodes, {"h": np.ones(2, ml_dtypes.bfloat16), "f": floats(1, 1)})
    _, ctx = run_pass(FOLD, graph)
    assert set(ops(graph)) == {"Sin", "Cast", "Sum"}
    assert len(ctx.warnings) == 1 and "and 99 nodes like it stay" in ctx.warnings[0]
    assert ctx.statistics["fold-constants: onnxruntime sessions"] < 30


def test_what_does_not_fit_into_memory_waits_for_the_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxopt.passes.fold_constants._MEMORY", 2000)
    monkeypatch.setattr("onnxopt.folding.evaluation._BYTES", 500)
    weights = {f"w{i}": np.full((2, 50), i, np.float32) for i in range(20)}
    nodes = [op("Transpose", f"w{i}", f"t{i}") for i in range(20)]
    nodes.append(op("Concat", "x2 " + " ".join(f"t{i}" for i in range(20)), "c", axis=0))
    graph = model(
        [op("Unsqueeze", "x zero", "x2"), *nodes, op("Neg", "c", "y")], {**weights, "zero": np.array([0])}, rank=2
    )
    check_pass(FOLD, graph)
    assert ops(graph) == ["Unsqueeze", "Concat", "Neg"]


def test_a_node_that_needs_more_than_the_memory_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxopt.passes.fold_constants._MEMORY", 1 << 20)
    graph = model([op("ReduceMax", "w", "m", keepdims=0), op("Add", "x m", "y")], {"w": np.zeros(1 << 18, np.float32)})
    check_refusal(FOLD, graph, "computing it takes more than 1 MiB")


@pytest.mark.parametrize(
    "dtype",
    [
        np.bool_, np.int8, np.uint16, np.int32, np.float16, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e5m2, ml_dtypes.int4, ml_dtypes.uint4,
    ],
)  # fmt: skip
def test_types(dtype: type) -> None:
    nodes = [
        op("Cast", "w", "typed", to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))),
        op("Cast", "typed", "back", to=1),
        op("Add", "x back", "sum"),
        op("CastLike", "sum typed", "like"),
        op("Cast", "like", "y", to=1),
    ]
    graph = model(nodes, {"w": floats(0.3, 1.7)})
    check_pass(FOLD, graph, {"x": floats(1, 2)})
    typed = constant(graph, "typed")
    assert ops(graph) == ["Add", "CastLike", "Cast"] and typed.dtype == dtype and typed.shape == (2,)


def test_ten_thousand_nodes_take_twenty_sessions_and_one_inference_each(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    infer = onnx.shape_inference.infer_node_outputs

    def counted(schema: onnx.defs.OpSchema, *args: Any, **more: Any) -> Any:
        calls.append(schema.name)
        return infer(schema, *args, **more)

    monkeypatch.setattr(onnx.shape_inference, "infer_node_outputs", counted)
    nodes = [op("Add", f"v{i - 1} one" if i else "one one", f"v{i}") for i in range(10_000)]
    graph = model([*nodes, op("Add", "x v9999", "y")], {"one": floats(1)})
    _, ctx = run_pass(FOLD, graph)
    assert len(graph.nodes) == 1 and constant(graph, "v9999") == 10_001
    assert ctx.statistics["fold-constants: onnxruntime sessions"] == 20 and len(calls) == 10_000


def test_conformance_models_with_constant_inputs_compute_the_same() -> None:
    """Every twelfth model of onnx's own, all its inputs made initializers: as much as can be is folded."""
    folded = 0
    for case in load_model_tests(kind="node")[::12]:
        graph = with_constant_inputs(case.model, case.data_sets[0][0] if case.data_sets else ())
        if graph is None:
            continue
        try:
            expected = Session(ir.to_proto(graph)).run({})
        except NotRunnable:
            continue
        changed, ctx = run_pass(FOLD, graph)
        folded += changed
        if any("random" in refusal.what for refusal in ctx.refusals):
            continue
        found = Session(ir.to_proto(graph)).run({})
        for name, value in expected.items():
            assert np.asarray(found[name]).dtype == np.asarray(value).dtype, case.name
            np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(value), err_msg=case.name)
    assert folded > 80


def with_constant_inputs(model: onnx.ModelProto | None, arrays: Sequence[object]) -> ir.Graph | None:
    """The model as a graph; None where an input is no tensor, or has no value given."""
    if model is None or len(arrays) != len(model.graph.input) or not all(isinstance(a, np.ndarray) for a in arrays):
        return None
    light = onnx.ModelProto.FromString(model.SerializeToString())
    for info, array in zip(light.graph.input, arrays, strict=True):
        light.graph.initializer.append(numpy_helper.from_array(np.asarray(array), info.name))
    del light.graph.input[:]
    return ir.from_proto(light)
