"""Whether the graph still computes what the input model computes, on data, as the passes promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onnxopt.errors import BadModel, CheckFailed
from onnxopt.pipeline.base import Context, Preserves
from onnxopt.pipeline.instruments.reference import Interface, Reference
from onnxopt.pipeline.manager import Instrument, PassRun

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.data import DataSet, Feeds
    from onnxopt.runtime.compare import Difference

_ORDER = (Preserves.BITS, Preserves.VALUES, Preserves.ACCURACY)
_PROMISED = {
    Preserves.BITS: "equal bits",
    Preserves.VALUES: "values equal up to rounding",
    Preserves.ACCURACY: "finite values of the same type and shape",
}


def weaker(one: Preserves, other: Preserves) -> Preserves:
    """What two passes, one after the other, promise together."""
    return max(one, other, key=_ORDER.index)


@dataclass(frozen=True)
class Verified:
    """What a comparison with the input model found."""

    run: PassRun | None
    """The pass after which it was made; None for the finished graph."""
    promise: Preserves
    """What all passes so far promise together."""
    worst: Difference | None
    """The output that differs most; None when no output can be compared."""


@dataclass
class Verify(Instrument):
    """Runs the input model and the graph on the same inputs and compares every output.

    After each pass: onnx's checker, its strict shape inference, inputs and outputs declared as before, and every output
    compared with the input model's, by the weakest promise of the passes so far. A pass that promises more than those
    before it is also held to that against the graph that it was given, and a pass that denies to have changed the graph
    is held to its fingerprint. onnxruntime's own optimizations are off on both sides. Outputs that depend on random
    operators are not compared.

    Raises:
        CheckFailed: From `start`, where the input model cannot be run; from `after` and `finish`, where it broke.
    """

    data: DataSet | None = None
    """Samples to run; generated inputs where there are none."""
    samples: int = 8
    """How many samples of `data`, or a quarter of it generated sets of inputs."""
    each: bool = True
    """After every pass; else once, at the end."""
    dims: dict[str, int] = field(default_factory=dict)
    """Sizes of symbolic dimensions for generated inputs."""
    since: int = 1
    """With `each`: the passes before this number are known to be right."""
    fixed: Mapping[str, int] = field(default_factory=dict)
    """Sizes of the dimensions that a pass of the pipeline fixes: the inputs have them, and the interface may."""
    results: list[Verified] = field(default_factory=list)
    reference: Reference | None = None
    """The input model as it ran; None before `start`."""
    _previous: list[Feeds] = field(default_factory=list)
    _promise: Preserves = Preserves.BITS
    _fingerprint: str = ""

    @property
    def skipped(self) -> frozenset[str]:
        """Outputs that depend on random operators."""
        return self.reference.skipped if self.reference else frozenset()

    @property
    def compared_on(self) -> str:
        """The inputs of the comparisons, for people."""
        count = len(self.reference.feeds) if self.reference else 0
        if self.data is None:
            return f"{count} generated set{'s' * (count != 1)} of inputs"
        return f"{count} batch{'es' * (count != 1)} of {Path(self.data.source).name}"

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """Run the input model."""
        from onnxopt import ir

        found = self.reference = Reference.of(graph, self.data, self.samples, {**self.dims, **self.fixed})
        self.results, self._promise, self._previous = [], self._held_to(Preserves.BITS), found.outputs
        self._fingerprint = ir.fingerprint(graph) if self.each else ""
        if found.complaint:
            ctx.warn(f"the input model itself fails onnx's checker, so only outputs are verified: {found.complaint}")
        if found.is_widened:
            ctx.warn("the model computes in 16-bit floats, which onnxruntime widens: values are compared, not bits")
        if found.skipped:
            ctx.warn(f"not compared, since they depend on random operators: {', '.join(sorted(found.skipped))}")

    def _held_to(self, promise: Preserves) -> Preserves:
        """What can be asked of a pass that promises so much."""
        return weaker(promise, Preserves.VALUES) if self.reference and self.reference.is_widened else promise

    def before(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """Run what the first pass to be verified is given."""
        if self.each and run.index == self.since > 1:
            from onnxopt import ir
            from onnxopt.runtime.executable import executable

            assert self.reference is not None, "start() has run"
            self._fingerprint = ir.fingerprint(graph)
            with executable(graph) as model:
                self._previous = self.reference.run(model)

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """Compare."""
        if run.changed:
            self._promise = weaker(self._promise, run.pass_.preserves)
        if not self.each or run.index < self.since:
            return
        from onnxopt import ir

        who = f"pass {run.index}, {run.text},"
        try:
            was, self._fingerprint = self._fingerprint, ir.fingerprint(graph)
            if run.changed:
                self._check(graph, run, who)
        except BadModel as error:
            raise CheckFailed(f"{who} made a graph that cannot be written: {error}") from error
        if not run.changed and was != self._fingerprint:
            raise CheckFailed(f"{who} changed the graph, but returned that it did not")

    def finish(self, graph: ir.Graph, ctx: Context) -> None:
        """Compare the finished graph, unless that is what the last comparison saw."""
        if not self.each or not self.results:
            self._check(graph, None, "the pipeline")

    def _check(self, graph: ir.Graph, run: PassRun | None, who: str) -> None:
        from onnxopt.runtime.executable import complaint, executable, header_of
        from onnxopt.runtime.precision import coarsest_rounding
        from onnxopt.runtime.session import NotRunnable

        reference = self.reference
        assert reference is not None, "start() has run"
        with executable(graph) as model:
            header = header_of(model)
            now = Interface.of(header)
            broken = reference.interface.broken_by(now)
            if broken and not (self.fixed and not reference.interface.fixed(self.fixed).broken_by(now)):
                raise CheckFailed(f"{who} {broken}")
            if not reference.complaint and (wrong := complaint(model)):
                raise CheckFailed(f"{who} made a model that onnx's checker refuses: {wrong}")
            try:
                found = reference.run(model)
            except NotRunnable as error:
                raise CheckFailed(f"{who} made a model that does not run: {error}") from error
            rounding = max(reference.rounding, coarsest_rounding(header))
        largest = _largest(reference.outputs, found, self._promise, rounding)
        if largest is not None and not largest.ok:
            raise CheckFailed(f"{who} broke {largest}; promised: {_PROMISED[self._promise]}")
        own = self._held_to(run.pass_.preserves) if run else self._promise
        if _ORDER.index(own) < _ORDER.index(self._promise):
            step = _largest(self._previous, found, own, rounding)
            if step is not None and not step.ok:
                raise CheckFailed(f"{who} broke {step}; promised: {_PROMISED[own]}, as of the graph before it")
        self._previous = found
        self.results.append(Verified(run, self._promise, largest))


def _largest(expected: list[Feeds], found: list[Feeds], promise: Preserves, rounding: float) -> Difference | None:
    """The worst difference of any output on any set of inputs."""
    from onnxopt.runtime.compare import Tolerance, compare, worst

    tolerance = Tolerance(promise.value)
    pairs = zip(expected, found, strict=True)
    return worst([one for before, now in pairs for one in compare(before, now, tolerance, rounding=rounding)])
