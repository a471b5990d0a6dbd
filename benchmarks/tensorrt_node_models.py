"""The node models that TensorRT is asked for, each after the pipeline, and whether that still gives what it must."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from conformance_cases import Case, cases, disagreement, names
from conformance_engines import run_in_onnxruntime, run_in_reference
from node_parameters import with_parameters
from onnx import ModelProto, TensorProto, ValueInfoProto

import onnxopt
from onnxopt import ir
from onnxopt.errors import OnnxoptError
from onnxopt.runtime.session import NotRunnable

PASSES = "O2,legalize-tensorrt,O2"
_RTOL, _ATOL = 1e-3, 1e-5


@dataclass(frozen=True)
class Legalized:
    """A node model, as models in use have it, and what the pipeline makes of it."""

    name: str
    op: str
    plain: ModelProto
    shapes: dict[str, tuple[int, ...]]
    """Of the inputs that are given: what an optimization profile is made of."""
    model: ModelProto | None
    """None where nothing was done to it."""
    refusals: tuple[str, ...] = ()
    """Why the pass left near matches alone."""
    fault: str = ""
    """Why what was made is ours to mend: an exception, or other outputs than the given ones."""


def node_models(only: str = "") -> Iterator[Case]:
    """The models of `onnx.backend.test` of kind `node` that count: 1,333 of the 1,884 of onnx 1.23.

    Of the default domain alone; inputs and outputs are tensors, none of them of strings; and no expanded functions,
    which are the same models in simpler operators.
    """
    wanted = {each for each in names() if each[0] == "node" and "_expanded" not in each[1] and only in each[1]}
    for case in cases(wanted):
        interface = [*case.model.graph.input, *case.model.graph.output]
        is_standard = all(entry.domain in ("", "ai.onnx") for entry in case.model.opset_import)
        if is_standard and all(map(_is_tensor_of_numbers, interface)):
            yield case


def _is_tensor_of_numbers(info: ValueInfoProto) -> bool:
    return info.type.WhichOneof("value") == "tensor_type" and info.type.tensor_type.elem_type != TensorProto.STRING


def legalized(case: Case) -> Legalized:
    """With initializers for what models in use have as such, and legalized, and run."""
    feeds, given = case.data[0]
    plain, left = with_parameters(case.model, {name: np.asarray(value) for name, value in feeds.items()})
    shapes = {name: np.shape(value) for name, value in left.items()}
    op = plain.graph.node[0].op_type
    try:
        done = onnxopt.run(plain, PASSES, target="tensorrt")
    except OnnxoptError as error:
        return Legalized(case.name, op, plain, shapes, None, fault=f"{type(error).__name__}: {error}")
    refusals = tuple(each.what for each in done.context.refusals if each.pass_name == "legalize-tensorrt")
    if not done.context.rewrites:
        return Legalized(case.name, op, plain, shapes, None, refusals)
    model = ir.to_proto(done.graph)
    return Legalized(case.name, op, plain, shapes, model, refusals, _fault(case, model, left, given))


def _fault(case: Case, model: ModelProto, feeds: dict[str, Any], given: dict[str, Any]) -> str:
    """Why neither onnxruntime nor onnx's reference evaluator gives the given outputs; empty where one of them does."""
    reasons = []
    for run in (run_in_onnxruntime, run_in_reference):
        try:
            found = run(model, feeds)
        except NotRunnable as error:
            reasons.append(str(error))
            continue
        tolerance = max(case.rtol, _RTOL), max(case.atol, _ATOL)
        wrong = [why for name, one in given.items() if (why := disagreement(one, found[name], *tolerance))]
        if not wrong:
            return ""
        reasons.append(f"other outputs: {wrong[0]}")
    return "; ".join(reasons)
