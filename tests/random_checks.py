"""What every random model is held to: outputs, interface, validity, size; and whether a second run finds more to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto

import onnxopt
from onnxopt import ir
from onnxopt.errors import OnnxoptError
from onnxopt.pipeline.base import Preserves
from onnxopt.pipeline.pipeline import Pipeline, parse_pipeline
from onnxopt.pipeline.registry import Registry
from onnxopt.runtime.compare import Tolerance, compare, worst
from onnxopt.runtime.precision import coarsest_rounding, is_widened
from tests.random_empty import reduces_empty_from_the_end, reduces_from_the_end, refuses_empty_images
from tests.random_graphs import Recipe, build, node_count, random_feeds, weight_bytes
from tests.random_kernels import behind_overflow, beyond_kernels
from tests.random_sensitivity import TRIALS, excused, noisy

BINDINGS = ({"n": 3, "m": 2}, {"n": 1, "m": 5}, {"n": 0, "m": 3})
"""The last only where onnxruntime runs the model itself with it."""
TARGETS = ("onnx", "qnn", "tensorrt", "coreml")
GROWTH = 64 * 1024
"""Bytes by which the weights may grow: what `fold-constants` may add unasked, several times over."""

_SINGLE = 2.0**-23
"""A double that was computed from float32 is no more exact than they are."""

TALLIED = ("counts", "models_by_pass", "rewrites", "operators", "again")
"""What is tallied."""

Outputs = list[dict[str, Any]]


class NotTaken(Exception):
    """onnxruntime refuses the model."""


class Wrong(AssertionError):
    """A model came out worse than it went in."""


@dataclass
class Tally:
    """What was seen of many models."""

    counts: Counter[str] = field(default_factory=Counter)
    """Models, those that onnxruntime took, runs, outputs that are excused, ..."""
    models_by_pass: Counter[str] = field(default_factory=Counter)
    """In how many models a pass rewrote something, for any target."""
    rewrites: Counter[str] = field(default_factory=Counter)
    """How many rewrites a pass made, for the target `onnx`."""
    operators: Counter[str] = field(default_factory=Counter)
    """How many nodes of each operator were rewritten."""
    again: Counter[str] = field(default_factory=Counter)
    """Passes that found something to do in a second run."""

    def add(self, other: Tally) -> None:
        for name in TALLIED:
            getattr(self, name).update(getattr(other, name))

    def lines(self) -> list[str]:
        taken = max(1, self.counts["taken"])
        table = [f"{'pass':36}{'models':>8}{'share':>8}{'rewrites':>10}{'in a 2nd run':>14}"]
        for name, count in self.models_by_pass.most_common():
            table.append(f"{name:36}{count:8}{count / taken:8.1%}{self.rewrites[name]:10}{self.again[name]:14}")
        counts = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        operators = ", ".join(f"{count} {what}" for what, count in self.operators.most_common())
        return [counts, *table, f"rewritten: {operators}"]


def session(model: ModelProto) -> Any:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise NotTaken(str(error)) from error


def run(model: ModelProto, feeds: Sequence[dict[str, Any]]) -> Outputs:
    """What onnxruntime computes of each, its own optimizations off.

    Raises:
        NotTaken: It does not take the model, or not these inputs.
    """
    runner = session(model)
    names = [output.name for output in runner.get_outputs()]
    try:
        return [dict(zip(names, runner.run(names, fed), strict=True)) for fed in feeds]
    except Exception as error:
        raise NotTaken(str(error)) from error


def runnable(model: ModelProto, seed: int) -> tuple[list[dict[str, Any]], Outputs]:
    """Inputs that the model takes, at each binding that it takes, and what it computes of them.

    Raises:
        NotTaken: It takes none of the first two.
    """
    symbols = {dim.dim_param for info in model.graph.input for dim in info.type.tensor_type.shape.dim} - {""}
    feeds = [random_feeds(model, seed + index, dims) for index, dims in enumerate(BINDINGS[:2])]
    outputs = run(model, feeds)
    if reduces_from_the_end(model) and any(reduces_empty_from_the_end(model, fed, run) for fed in feeds):
        raise NotTaken("onnxruntime reduces an empty tensor over a negative axis, and is wrong of its shape")
    if symbols and not reduces_from_the_end(model) and not refuses_empty_images(model):
        empty = random_feeds(model, seed + 2, BINDINGS[2])
        try:
            outputs += run(model, [empty])
        except NotTaken:
            return feeds, outputs
        feeds.append(empty)
    return feeds, outputs


def is_valid(model: ModelProto) -> bool:
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError:
        return False
    return True


def interface(model: ModelProto) -> list[bytes]:
    """The inputs without a default, and the outputs, as they are declared."""
    constant = {tensor.name for tensor in model.graph.initializer} if model.ir_version < 4 else set()
    infos = [*[info for info in model.graph.input if info.name not in constant], *model.graph.output]
    return [info.SerializeToString(deterministic=True) for info in infos]


@cache
def parsed(passes: str) -> Pipeline:
    return parse_pipeline(passes, Registry.installed())


@dataclass
class Case:
    """A model, and what it computes."""

    recipe: Recipe
    model: ModelProto
    feeds: list[dict[str, Any]]
    expected: Outputs
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.is_valid, self.is_widened = is_valid(self.model), is_widened(self.model)
        self.compared: set[bytes] = set()
        self.acted: set[str] = set()
        self.moved: list[Outputs] | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> Case:
        """Raises: NotTaken: onnxruntime refuses the model in the first place."""
        model = build(recipe)
        return cls(recipe, model, *runnable(model, recipe.seed))

    def check(self, passes: str, target: str = "onnx", *, twice: bool = False) -> onnxopt.RunResult:
        """Push the model through `passes`, and hold the result to everything.

        Raises:
            Wrong: Something is worse than before.
        """
        before = self.model.SerializeToString(deterministic=True)
        try:
            result = onnxopt.run(self.model, parsed(passes), target=target, provenance=False)
        except OnnxoptError as error:
            raise Wrong(f"{passes} for {target}: {error}") from error
        if self.model.SerializeToString(deterministic=True) != before:
            raise Wrong("the model given was changed")
        made = ir.to_proto(result.graph)
        written = made.SerializeToString(deterministic=True)
        self.tally.counts["runs"] += 1
        if written not in self.compared:
            try:
                self._hold(made, result)
            except Wrong as error:
                text = onnx.printer.to_text(self.model)
                raise Wrong(f"{passes} for {target}: {error}\n{self.culprit(passes, target)}\n{text}") from error
            self.compared.add(written)
        acted = {rewrite.pass_name for rewrite in result.context.rewrites if target == "onnx"}
        self.tally.models_by_pass.update(acted - self.acted)
        self.acted |= acted
        for rewrite in result.context.rewrites if target == "onnx" else []:
            self.tally.rewrites[rewrite.pass_name] += 1
            self.tally.operators[rewrite.where.split(" ")[0]] += " " in rewrite.where
        if twice:
            self._again(result, passes, target)
        return result

    def _hold(self, made: ModelProto, result: onnxopt.RunResult) -> None:
        if self.is_valid:
            try:
                onnx.checker.check_model(made, full_check=True)
            except Exception as error:
                if _is_full(self.model):
                    raise Wrong(f"onnx's checker refuses the result: {error}") from error
        if interface(made) != interface(self.model):
            raise Wrong("the interface changed")
        grows = any(run.name in ("inline-functions", "unroll-loops") for run in result.runs)
        if node_count(made) > node_count(self.model) and not grows:
            raise Wrong(f"{node_count(self.model)} nodes became {node_count(made)}")
        if weight_bytes(made) > weight_bytes(self.model) + GROWTH:
            raise Wrong(f"{weight_bytes(self.model)} bytes of weights became {weight_bytes(made)}")
        feeds = self.feeds
        if len(feeds) > 2 and refuses_empty_images(made):
            feeds = feeds[:2]
            self.tally.counts["empty images not run"] += 1
        try:
            found = run(made, feeds)
        except NotTaken as error:
            raise Wrong(f"onnxruntime does not take the result: {error}") from error
        promises = {run.pass_.preserves for run in result.runs if run.changed}
        tolerance = Tolerance.BITS if promises <= {Preserves.BITS} and not self.is_widened else Tolerance.VALUES
        rounding = 2.0**-10 if self.is_widened else min(_SINGLE, coarsest_rounding(self.model))
        recognised = any(run.name.startswith("recognize-") and run.changed for run in result.runs)
        reassociates = recognised or any(run.name == "merge-arithmetic" and run.changed for run in result.runs)
        for index, (one, other) in enumerate(zip(self.expected, found, strict=False)):
            if list(one) != list(other):
                raise Wrong(f"the outputs are {list(other)}, not {list(one)}")
            complaints = [d for d in compare(one, other, tolerance, rounding=rounding) if not d.ok]
            if complaints and tolerance is Tolerance.VALUES:
                unclear = beyond_kernels(self.model, feeds[index], run) | beyond_kernels(made, feeds[index], run)
                complaints = [
                    d
                    for d in complaints
                    if d.output not in unclear
                    and not self._is_excused(index, d.output, other, recognised)
                    and not (reassociates and self._avoids_overflow(index, d.output, other))
                ]
            if complaints:
                raise Wrong(f"{worst(complaints)}, promised {tolerance.value}, at {BINDINGS[index]}")

    def _is_excused(self, index: int, name: str, found: dict[str, Any], recognised: bool) -> bool:
        if self.moved is None:
            self.moved = [run(noisy(self.model, trial), self.feeds) for trial in range(TRIALS)]
        moved = [outputs[index][name] for outputs in self.moved]
        self.tally.counts["outputs excused by noise"] += 1
        return excused(self.expected[index][name], found[name], moved, may_be_finite=recognised)

    def _avoids_overflow(self, index: int, name: str, found: dict[str, Any]) -> bool:
        """Whether a number of the model overflowed on the way to an output, and no more is lost in it than was."""
        expected = self.expected[index][name]
        if (found[name].dtype, found[name].shape) != (expected.dtype, expected.shape) or expected.dtype.kind != "f":
            return False
        if name not in behind_overflow(self.model, self.feeds[index], run):
            return False
        self.tally.counts["outputs behind an overflow"] += 1
        return bool(np.isfinite(found[name])[np.isfinite(expected)].all())

    def _again(self, result: onnxopt.RunResult, passes: str, target: str) -> None:
        again = onnxopt.run(result.graph, parsed(passes), target=target, provenance=False)
        self.tally.counts["second runs"] += 1
        if again.context.rewrites:
            self.tally.counts["second runs with something to do"] += 1
        for name in {rewrite.pass_name for rewrite in again.context.rewrites}:
            self.tally.again[name] += 1

    def culprit(self, passes: str, target: str) -> str:
        """What a verified run says, which stops at the first pass that breaks something."""
        named = {dim.dim_param for info in self.model.graph.input for dim in info.type.tensor_type.shape.dim}
        dims = {name: size for name, size in BINDINGS[0].items() if name in named}
        try:
            onnxopt.run(self.model, parsed(passes), target=target, verify_each=True, dims=dims)
        except OnnxoptError as error:
            return str(error)
        return "a verified run finds nothing"


def _is_full(model: ModelProto) -> bool:
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception:  # noqa: BLE001  the checker raises what it likes
        return False
    return True
