"""Random models keep their outputs, their interface and their validity, and are done after one run.

`ONNXOPT_RANDOM_MODELS=N` sets how many models the slow sweep tries, 20,000 by default, and `ONNXOPT_RANDOM_SEED=S` the
first of them: `ONNXOPT_RANDOM_MODELS=500 pytest -m slow tests/test_random_graphs.py`.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.pipeline.pipeline import Pipeline, parse_pipeline
from onnxopt.pipeline.registry import Registry
from tests.random_graphs import random_feeds, random_model

BINDINGS = ({"n": 3, "m": 2}, {"n": 1, "m": 5})
FEW = 150
MANY = int(os.environ.get("ONNXOPT_RANDOM_MODELS", "20000"))
FIRST = int(os.environ.get("ONNXOPT_RANDOM_SEED", "1000"))
CHUNKS = 100
"""Tests that the sweep is cut into, so that it runs on all cores and a failure ends little."""


class NotTaken(Exception):
    """onnxruntime refuses the model."""


def outputs_of(model: onnx.ModelProto, seed: int) -> list[dict[str, Any]]:
    """What onnxruntime computes at each binding, its own optimizations off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", "1")
    feeds = [random_feeds(model, seed, dims) for dims in BINDINGS]
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return [dict(zip(names, session.run(names, fed), strict=True)) for fed in feeds]
    except Exception as error:
        raise NotTaken(str(error)) from error


def is_valid(model: onnx.ModelProto) -> bool:
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError:
        return False
    return True


def interface(model: onnx.ModelProto) -> list[bytes]:
    """The inputs without a default, and the outputs, as they are declared."""
    constant = {tensor.name for tensor in model.graph.initializer} if model.ir_version < 4 else set()
    infos = [*[info for info in model.graph.input if info.name not in constant], *model.graph.output]
    return [info.SerializeToString(deterministic=True) for info in infos]


def computes_in_float16(model: onnx.ModelProto) -> bool:
    return "FLOAT16" in onnx.printer.to_text(model).upper()


def used(model: onnx.ModelProto, dims: dict[str, int]) -> dict[str, int]:
    """Those of the dimensions that an input has."""
    named = {dim.dim_param for info in model.graph.input for dim in info.type.tensor_type.shape.dim}
    return {name: size for name, size in dims.items() if name in named}


@cache
def parsed(passes: str) -> Pipeline:
    return parse_pipeline(passes, Registry.installed())


def check(seed: int, passes: str, tmp_path: Path, *, verify_each: bool = True) -> bool:
    """Run the model of a seed through `passes`; False where onnxruntime does not take the model in the first place."""
    model = random_model(seed)
    before = model.SerializeToString(deterministic=True)
    try:
        expected = outputs_of(model, seed)
    except NotTaken:
        return False
    dims = used(model, BINDINGS[0])
    result = onnxopt.run(model, parsed(passes), verify_each=verify_each, dims=dims)
    assert model.SerializeToString(deterministic=True) == before, "the model given was changed"
    made = ir.to_proto(result.graph)
    if is_valid(model):
        onnx.checker.check_model(made)
    assert interface(made) == interface(model)
    loose = computes_in_float16(model)
    for one, other in zip(expected, outputs_of(made, seed), strict=True):
        assert list(one) == list(other)
        for name in one:
            compare(one[name], other[name], 0.0 if passes == "O1" and not loose else 2e-2 if loose else 1e-4, name)
    if passes == "O2":  # O1 is one round, and onnxsim is not always done after one
        again = onnxopt.run(result.graph, parsed(passes))
        assert not again.context.rewrites, f"the second run found more to do: {again.context.rewrites[:3]}"
        assert ir.fingerprint(again.graph) == ir.fingerprint(result.graph)
    path = tmp_path / "saved.onnx"
    result.save(path)
    assert ir.fingerprint(ir.load(path)) == ir.fingerprint(result.graph)
    return True


def compare(one: Any, other: Any, tolerance: float, name: str) -> None:
    assert (one.dtype, one.shape) == (other.dtype, other.shape), name
    if tolerance and one.dtype.kind == "f":
        finite = one[np.isfinite(one)].astype(np.float64)
        scale = max(1.0, float(np.abs(finite).max(initial=0)))
        np.testing.assert_allclose(other, one, rtol=0, atol=tolerance * scale, err_msg=name)
    else:
        np.testing.assert_array_equal(other, one, err_msg=name)
        if one.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(other), np.signbit(one), err_msg=name)


@pytest.mark.parametrize("passes", ["O1", "O2"])
@pytest.mark.parametrize("seed", range(FEW // 2))
def test_a_random_model_keeps_what_it_computes(seed: int, passes: str, tmp_path: Path) -> None:
    check(2 * seed + (passes == "O2"), passes, tmp_path)


def test_nearly_every_random_model_is_one_that_onnxruntime_takes() -> None:
    assert sum(is_taken(seed) for seed in range(FEW)) > 0.9 * FEW


def is_taken(seed: int) -> bool:
    try:
        return bool(outputs_of(random_model(seed), seed))
    except NotTaken:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_models_in_numbers(chunk: int, tmp_path: Path) -> None:
    for seed in range(FIRST + chunk, FIRST + MANY, CHUNKS):
        for passes in ("O1", "O2", *(["simplify"] if seed % 20 == 0 else [])):
            check_named(seed, passes, tmp_path)


def check_named(seed: int, passes: str, tmp_path: Path) -> None:
    """`check`, whose failure names the seed and the passes."""
    try:
        check(seed, passes, tmp_path)
    except Exception as error:
        raise AssertionError(f"random model {seed} through {passes}: {error}") from error
