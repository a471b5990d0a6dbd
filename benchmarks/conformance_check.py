"""One conformance case: the model before and after the pipeline, held to the outputs that come with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import onnx
from conformance_cases import Case, disagreement
from conformance_engines import Engine, Values, run_in_onnxruntime, run_in_reference
from onnx import ModelProto

import onnxopt
from onnxopt import ir
from onnxopt.ir.fingerprint import fingerprint
from onnxopt.pipeline.base import Preserves
from onnxopt.pipeline.instruments.verify import weaker
from onnxopt.pipeline.pipeline import Pipeline
from onnxopt.runtime.compare import Tolerance, compare, worst
from onnxopt.runtime.nondeterminism import nondeterministic_outputs
from onnxopt.runtime.precision import coarsest_rounding, is_widened
from onnxopt.runtime.session import NotRunnable

OK, BY_REFERENCE, NOT_RUNNABLE, ALREADY_WRONG, WRONG, CRASH = (
    "ok",
    "ok by reference",
    "not runnable",
    "already wrong",
    "WRONG",
    "CRASH",
)


@dataclass
class Result:
    """What happened to one case."""

    kind: str
    name: str
    verdict: str
    """`ok`: the outputs are the given ones. `ok by reference`: the same, in onnx's reference evaluator, since
    onnxruntime does not run the untouched model. `not runnable`: neither does. `already wrong`: the untouched model's
    outputs are not the given ones, and the optimized one's are the untouched one's."""
    why: str = ""
    facts: list[str] = field(default_factory=list)
    """`bit equal`, `changed`, `not idempotent`, `random`, ...; counted, no verdict."""
    removed: int = 0
    """Nodes of the main graph that are gone."""


def check(case: Case, passes: str) -> Result:
    """Run the pipeline on a case and judge it. Never raises."""
    result = Result(case.kind, case.name, OK)
    try:
        run = onnxopt.run(case.model, passes)
        after = ir.to_proto(run.graph)
        again = onnxopt.run(run.graph, passes)
    except Exception as error:  # noqa: BLE001  any is a fault of ours, to be listed
        result.verdict, result.why = CRASH, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return result
    if run.context.rewrites:
        result.facts.append("changed")
    if again.context.rewrites or fingerprint(again.graph) != fingerprint(run.graph):
        result.facts.append("not idempotent")
        first = next((f"{r.pass_name}: {r.where}: {r.what}" for r in again.context.rewrites), "other fingerprint")
        result.why = f"a second run: {first}"
    result.removed = len(case.model.graph.node) - len(after.graph.node)
    if reason := _interface_change(case.model, after) or _new_complaint(case.model, after):
        result.verdict, result.why = WRONG, reason
        return result
    promise = weaker(_promise(run.pipeline), Preserves.VALUES if is_widened(case.model) else Preserves.BITS)
    _judge_outputs(case, after, promise, result)
    return result


def _judge_outputs(case: Case, after: ModelProto, promise: Preserves, result: Result) -> None:
    random = nondeterministic_outputs(case.model)
    if random:
        result.facts.append("random")
    try:
        engine, before = _run_first(case)
    except NotRunnable as error:
        result.verdict, result.why = NOT_RUNNABLE, str(error)
        return
    if engine is run_in_reference:
        result.verdict = BY_REFERENCE
    try:
        found = [engine(after, feeds) for feeds, _ in case.data]
    except NotRunnable as error:
        result.verdict, result.why = WRONG, f"runs no more: {error}"
        return
    equal = True
    for (_, given), one, other in zip(case.data, before, found, strict=True):
        if reason := next((why for name in random if (why := _shape_change(name, one, other))), ""):
            result.verdict, result.why = WRONG, reason
            return
        was = _first_disagreement(case, {k: v for k, v in given.items() if k not in random}, one)
        reference = {k: one[k] if was else given[k] for k in given if k not in random}
        if reason := _first_disagreement(case, reference, other):
            result.verdict, result.why = WRONG, reason
            return
        if was:
            result.verdict, result.why = ALREADY_WRONG, was
        fixed = {name: value for name, value in one.items() if name not in random}
        differences = compare(fixed, other, Tolerance(promise.value), rounding=coarsest_rounding(case.model))
        equal &= all(difference.bit_equal for difference in differences)
        largest = worst(differences)
        if largest is not None and not largest.ok:
            result.facts.append("beyond promise")
            result.why = f"within the case's tolerance, but not the pipeline's promise: {largest}"
    if equal:
        result.facts.append("bit equal")


def _promise(pipeline: Pipeline) -> Preserves:
    promise = Preserves.BITS
    for element in pipeline.expand().elements:
        inner = getattr(element, "pipeline", None)
        promise = weaker(promise, _promise(inner) if isinstance(inner, Pipeline) else element.preserves)  # type: ignore[union-attr]
    return promise


def _run_first(case: Case) -> tuple[Engine, list[Values]]:
    """The outputs of the untouched model, from onnxruntime where that runs it, else from onnx's reference evaluator."""
    try:
        return run_in_onnxruntime, [run_in_onnxruntime(case.model, feeds) for feeds, _ in case.data]
    except NotRunnable as refusal:
        try:
            return run_in_reference, [run_in_reference(case.model, feeds) for feeds, _ in case.data]
        except NotRunnable:
            raise refusal from None


def _first_disagreement(case: Case, given: Values, found: Values) -> str:
    for name, value in given.items():
        if why := disagreement(value, found[name], case.rtol, case.atol):
            return f"output '{name}': {why}"
    return ""


def _shape_change(name: str, one: Values, other: Values) -> str:
    before, after = ((getattr(v[name], "dtype", None), getattr(v[name], "shape", None)) for v in (one, other))
    return "" if before == after else f"output '{name}': {after} instead of {before}"


def _interface_change(before: ModelProto, after: ModelProto) -> str:
    """Inputs and outputs: the same names in the same order, and types that say the same or more."""
    for what in ("input", "output"):
        one, other = _infos(before, what), _infos(after, what)
        if [info.name for info in one] != [info.name for info in other]:
            return f"the {what}s are {[info.name for info in other]} instead of {[info.name for info in one]}"
        for info, now in zip(one, other, strict=True):
            if not _refines(info.type, now.type):
                return f"{what} '{info.name}' is declared {_flat(now.type)} instead of {_flat(info.type)}"
    return ""


def _infos(model: ModelProto, what: str) -> list[Any]:
    """Inputs or outputs; an initializer that a file of an old IR version lists is no input."""
    listed = {tensor.name for tensor in model.graph.initializer} if what == "input" and model.ir_version < 4 else set()
    return [info for info in getattr(model.graph, what) if info.name not in listed]


def _refines(before: Any, after: Any) -> bool:
    """Whether a TypeProto says all that another says: more only where that leaves a dimension or a shape open."""
    kind = before.WhichOneof("value")
    if kind != after.WhichOneof("value"):
        return kind is None
    one, other = getattr(before, kind or "tensor_type"), getattr(after, kind or "tensor_type")
    if kind != "tensor_type":
        return bool(_flat(before) == _flat(after)) or _refines(one.elem_type, other.elem_type)
    if one.elem_type != other.elem_type:
        return False
    if not one.HasField("shape"):
        return True
    return len(one.shape.dim) == len(other.shape.dim) and all(
        a.WhichOneof("value") is None or (a.dim_value, a.dim_param) == (b.dim_value, b.dim_param)
        for a, b in zip(one.shape.dim, other.shape.dim, strict=True)
    )


def _flat(message: Any) -> str:
    return " ".join(str(message).split())


def _new_complaint(before: ModelProto, after: ModelProto) -> str:
    complaint = _complaint(after)
    return f"onnx's checker refuses it: {complaint}" if complaint and not _complaint(before) else ""


def _complaint(model: ModelProto) -> str:
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # noqa: BLE001  the checker raises errors of several unrelated classes
        return _flat(error)[:300]
    return ""
