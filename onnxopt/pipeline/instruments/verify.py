"""Whether the graph still computes what the input model computes, on data, as the passes promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxopt.errors import CheckFailed
from onnxopt.pipeline.base import Context, Preserves
from onnxopt.pipeline.manager import Instrument, PassRun

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.data import DataSet, Feeds, ValueSpec
    from onnxopt.runtime.compare import Difference

_ORDER = (Preserves.BITS, Preserves.VALUES, Preserves.ACCURACY)


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
    compared with the input model's, by the weakest promise of the passes so far; a pass that promises BITS is also
    held to them against the graph that it was given. onnxruntime's own optimizations are off on both sides. Outputs
    that depend on random operators are not compared.

    Raises:
        CheckFailed: From `start`, where the input model cannot be run; from `after` and `finish`, where it broke.
    """

    data: DataSet | None = None
    """Samples to run; generated inputs where there are none."""
    samples: int = 8
    """How many samples of `data`, or a quarter of it generated sets of inputs."""
    each: bool = True
    """After every pass that changed the graph; else once, at the end."""
    dims: dict[str, int] = field(default_factory=dict)
    """Sizes of symbolic dimensions for generated inputs."""
    results: list[Verified] = field(default_factory=list)
    skipped: set[str] = field(default_factory=set)
    """Outputs that depend on random operators."""
    feeds: list[Feeds] = field(default_factory=list)
    _expected: list[Feeds] = field(default_factory=list)
    _previous: list[Feeds] = field(default_factory=list)
    _interface: tuple[Sequence[ValueSpec], Sequence[ValueSpec]] = ((), ())
    _promise: Preserves = Preserves.BITS
    _rounding: float = 0.0
    _was_valid: bool = True

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """Run the input model."""
        from onnxopt.runtime.executable import complaint, executable, header_of
        from onnxopt.runtime.generated_inputs import runnable_inputs
        from onnxopt.runtime.nondeterminism import nondeterministic_outputs
        from onnxopt.runtime.precision import coarsest_rounding
        from onnxopt.runtime.session import NotRunnable, Session

        with executable(graph) as model:
            if wrong := complaint(model):
                self._was_valid = False
                ctx.warn(f"the input model itself fails onnx's checker, so only outputs are verified: {wrong}")
            header = header_of(model)
            self._rounding = coarsest_rounding(header)
            self.skipped = nondeterministic_outputs(header)
            try:
                session = Session(model)
                if self.data is not None:
                    self.feeds = list(self.data.take(self.samples).batches())
                else:
                    self.feeds = runnable_inputs(header, session, max(1, self.samples // 4), dims=self.dims)
                self._interface = (session.inputs, session.outputs)
                self._expected = self._previous = self._run(session)
            except NotRunnable as error:
                raise CheckFailed(f"cannot verify: {error}") from error
        if self.skipped:
            ctx.warn(f"not compared, since they depend on random operators: {', '.join(sorted(self.skipped))}")

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """Compare, if the pass changed the graph."""
        if not run.changed:
            return
        self._promise = weaker(self._promise, run.pass_.preserves)
        if self.each:
            self._check(graph, run, f"pass {run.index}, {run.text}")

    def finish(self, graph: ir.Graph, ctx: Context) -> None:
        """Compare the finished graph, unless the last pass was."""
        if not self.each:
            self._check(graph, None, "the pipeline")

    def _check(self, graph: ir.Graph, run: PassRun | None, who: str) -> None:
        from onnxopt.runtime.compare import Tolerance, compare, worst
        from onnxopt.runtime.executable import complaint, executable
        from onnxopt.runtime.session import NotRunnable, Session

        with executable(graph) as model:
            if self._was_valid and (wrong := complaint(model)):
                raise CheckFailed(f"{who} made a model that onnx's checker refuses: {wrong}")
            try:
                session = Session(model)
                self._require_same_interface(session, who)
                found = self._run(session)
            except NotRunnable as error:
                raise CheckFailed(f"{who} made a model that does not run: {error}") from error

        def differences(expected: list[Feeds], promise: Preserves) -> list[Difference]:
            tolerance = Tolerance(promise.value)
            pairs = zip(expected, found, strict=True)
            return [d for one, other in pairs for d in compare(one, other, tolerance, rounding=self._rounding)]

        largest = worst(differences(self._expected, self._promise))
        if largest is not None and not largest.ok:
            raise CheckFailed(f"{who} broke {largest}; it promises to preserve {self._promise.value}")
        if run is not None and run.pass_.preserves is Preserves.BITS:
            last = worst(differences(self._previous, Preserves.BITS))
            if last is not None and not last.ok:
                raise CheckFailed(f"{who} broke {last}; it promises to preserve bits")
        self._previous = found
        self.results.append(Verified(run, self._promise, largest))

    def _run(self, session: object) -> list[Feeds]:
        from onnxopt.runtime.session import Session

        assert isinstance(session, Session)
        names = [spec.name for spec in session.outputs if spec.name not in self.skipped]
        return [session.run(feeds, names) if names else {} for feeds in self.feeds]

    def _require_same_interface(self, session: object, who: str) -> None:
        from onnxopt.runtime.session import Session

        assert isinstance(session, Session)
        for kind, before, after in zip(
            ("input", "output"), self._interface, (session.inputs, session.outputs), strict=True
        ):
            names, now = [spec.name for spec in before], [spec.name for spec in after]
            if names != now:
                raise CheckFailed(f"{who} changed the {kind}s from {', '.join(names)} to {', '.join(now)}")
            for one, other in zip(before, after, strict=True):
                if (one.kind, one.dtype) != (other.kind, other.dtype) or not _refines(one.shape, other.shape):
                    raise CheckFailed(f"{who} changed the {kind} '{one.name}' from {one} to {other}")


def _refines(before: Sequence[object] | None, after: Sequence[object] | None) -> bool:
    """Whether `after` says the same, and more only where `before` says nothing."""
    if before is None or after is None:
        return before is None
    return len(before) == len(after) and all(b in (None, a) for b, a in zip(before, after, strict=True))
