"""One conformance case: the model before and after each run of a pipeline, held to the outputs that come with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import onnx
from conformance_cases import Case, disagreement
from conformance_engines import Engine, Values, run_in_onnxruntime, run_in_reference
from conformance_interface import interface_change
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


@dataclass(frozen=True)
class Run:
    """A pipeline, and the target that graphs are prepared for; none in particular where that is None."""

    passes: str
    target: str | None = None

    def __str__(self) -> str:
        return f"{self.passes} for {self.target}" if self.target else self.passes


@dataclass
class Result:
    """What happened to one case in one run."""

    kind: str
    name: str
    run: str
    verdict: str
    """`ok`: the outputs are the given ones. `ok by reference`: the same, in onnx's reference evaluator, since
    onnxruntime does not run the untouched model. `not runnable`: neither does. `already wrong`: the untouched model's
    outputs are not the given ones, and the optimized one's are the untouched one's."""
    why: str = ""
    facts: list[str] = field(default_factory=list)
    """`bit equal`, `changed`, `not idempotent`, `random`, ...; counted, no verdict."""
    removed: int = 0
    """Nodes of the main graph that are gone."""
    fingerprint: str = ""
    """Of the optimized graph."""
    second: str = ""
    """What a second run still does; empty where nothing."""


def check(case: Case, runs: Sequence[Run]) -> Iterator[Result]:
    """Run each on a case and judge it. Never raises.

    Graphs that are equal to one another by their fingerprints, as most are for one target and another, are judged once.
    """
    untouched = _Untouched(case)
    judged: dict[tuple[str, Preserves], Result] = {}
    for run in runs:
        result = Result(case.kind, case.name, str(run), OK)
        try:
            done = _run(case.model, run)
            again = _run(done.graph, run)
            result.fingerprint = fingerprint(done.graph)
            promise = _promise(done.pipeline)
            if (result.fingerprint, promise) not in judged:
                judged[result.fingerprint, promise] = _judged(untouched, ir.to_proto(done.graph), promise, result)
            known = judged[result.fingerprint, promise]
            result = replace(known, run=str(run), facts=list(known.facts))
            if done.context.rewrites:
                result.facts.append("changed")
            if again.context.rewrites or fingerprint(again.graph) != result.fingerprint:
                result.facts.append("not idempotent")
                left = (f"{one.pass_name}: {one.where}: {one.what}" for one in again.context.rewrites)
                result.second = next(left, "other fingerprint")
        except Exception as error:  # noqa: BLE001  any is a fault of ours, to be listed
            result.verdict, result.why = CRASH, f"{type(error).__name__}: {_flat(error)[:300]}"
        yield result


class _Untouched:
    """What the runs of a case are compared with; found out when first asked for."""

    def __init__(self, case: Case) -> None:
        self.case = case

    @cached_property
    def random(self) -> frozenset[str]:
        return frozenset(nondeterministic_outputs(self.case.model))

    @cached_property
    def complaint(self) -> str:
        return _complaint(self.case.model)

    @cached_property
    def engine_and_outputs(self) -> tuple[Engine, list[Values]] | NotRunnable:
        """From onnxruntime where that runs it, else from onnx's reference evaluator; or why neither does."""
        case = self.case
        try:
            return run_in_onnxruntime, [run_in_onnxruntime(case.model, feeds) for feeds, _ in case.data]
        except NotRunnable as refusal:
            try:
                return run_in_reference, [run_in_reference(case.model, feeds) for feeds, _ in case.data]
            except NotRunnable:
                return refusal


def _run(model: Any, run: Run) -> onnxopt.RunResult:
    return onnxopt.run(model, run.passes, target=run.target)


def _judged(untouched: _Untouched, after: ModelProto, promise: Preserves, result: Result) -> Result:
    case = untouched.case
    result.removed = len(case.model.graph.node) - len(after.graph.node)
    complaint = "" if untouched.complaint else _complaint(after)
    if reason := interface_change(case.model, after) or (complaint and f"onnx's checker refuses it: {complaint}"):
        return replace(result, verdict=WRONG, why=reason)
    _judge_outputs(
        untouched, after, weaker(promise, Preserves.VALUES if is_widened(case.model) else Preserves.BITS), result
    )
    return result


def _judge_outputs(untouched: _Untouched, after: ModelProto, promise: Preserves, result: Result) -> None:
    case, random = untouched.case, untouched.random
    if random:
        result.facts.append("random")
    found_before = untouched.engine_and_outputs
    if isinstance(found_before, NotRunnable):
        result.verdict, result.why = NOT_RUNNABLE, str(found_before)
        return
    engine, before = found_before
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


def _first_disagreement(case: Case, given: Values, found: Values) -> str:
    for name, value in given.items():
        if why := disagreement(value, found[name], case.rtol, case.atol):
            return f"output '{name}': {why}"
    return ""


def _shape_change(name: str, one: Values, other: Values) -> str:
    before, after = ((getattr(v[name], "dtype", None), getattr(v[name], "shape", None)) for v in (one, other))
    return "" if before == after else f"output '{name}': {after} instead of {before}"


def _complaint(model: ModelProto) -> str:
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # noqa: BLE001  the checker raises errors of several unrelated classes
        return _flat(error)[:300] or type(error).__name__
    return ""


def _flat(message: Any) -> str:
    return " ".join(str(message).split())
