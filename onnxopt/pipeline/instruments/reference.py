"""What the input model declares and computes: what every graph of the run is held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnxopt.errors import CheckFailed

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

    from onnxopt import ir
    from onnxopt.data import DataSet, Feeds, ValueSpec
    from onnxopt.runtime.session import Session


@dataclass(frozen=True)
class Interface:
    """What a model declares to its callers: inputs, those with a default value included, and outputs, in order."""

    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]

    @classmethod
    def of(cls, header: ModelProto) -> Interface:
        """The interface of a model. Before IR version 4 every initializer is listed as an input, and none is one."""
        from onnxopt.data import inputs_of, outputs_of
        from onnxopt.data.spec import spec_of

        overridable = header.ir_version >= 4
        inputs = map(spec_of, header.graph.input) if overridable else inputs_of(header)
        return cls(tuple(inputs), tuple(outputs_of(header)))

    def fixed(self, dims: Mapping[str, int]) -> Interface:
        """The interface of the model once these dimensions of its inputs are fixed.

        An output's symbol that is no input's stands for whatever number then follows: it becomes unknown.
        """
        from onnxopt.runtime.dimensions import fixed, fixed_spec

        def output(spec: ValueSpec) -> ValueSpec:
            if spec.shape is None:
                return spec
            shape = fixed("", spec.shape, dims)
            return replace(spec, shape=tuple(None if isinstance(dim, str) else dim for dim in shape))

        return Interface(tuple(fixed_spec(spec, dims) for spec in self.inputs), tuple(map(output, self.outputs)))

    def broken_by(self, other: Interface) -> str:
        """How `other` breaks what this declares, empty where it does not: it may say more, never something else."""
        for kind, before, after in (("input", self.inputs, other.inputs), ("output", self.outputs, other.outputs)):
            names, now = [spec.name for spec in before], [spec.name for spec in after]
            if names != now:
                return f"changed the {kind}s from {_listed(names)} to {_listed(now)}"
            for one, two in zip(before, after, strict=True):
                if not _refines(one, two):
                    return f"changed the {kind} '{one.name}' from {one} to {two}"
        return ""


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _refines(before: ValueSpec, after: ValueSpec) -> bool:
    """Whether `after` says the same, and more only where `before` says nothing."""
    if before.kind != after.kind:
        return False
    # `before.dtype not in (None, after.dtype)` would not do: numpy finds None equal to float64
    if before.dtype is not None and (after.dtype is None or before.dtype != after.dtype):
        return False
    if before.shape is None or after.shape is None:
        return before.shape is None
    return len(before.shape) == len(after.shape) and all(
        one in (None, two) for one, two in zip(before.shape, after.shape, strict=True)
    )


@dataclass(frozen=True)
class Reference:
    """The input model, as it ran."""

    interface: Interface
    feeds: list[Feeds]
    """What it was run on."""
    outputs: list[Feeds]
    """What it gave, without the skipped ones."""
    skipped: frozenset[str]
    """Outputs that depend on random operators."""
    rounding: float
    """Of the coarsest type that it computes in (`runtime.precision`)."""
    is_widened: bool
    """Whether it computes in 16-bit floats, of which onnxruntime cannot be asked for equal bits."""
    complaint: str
    """What onnx's checker holds against it; empty for nothing."""

    @classmethod
    def of(cls, graph: ir.Graph, data: DataSet | None, samples: int, dims: Mapping[str, int]) -> Reference:
        """Run a model on the first samples of `data`, or on generated inputs.

        Raises:
            CheckFailed: It cannot be run.
            BadData: The data cannot be read, or do not fit.
        """
        from onnxopt.runtime.executable import complaint, executable, header_of
        from onnxopt.runtime.generated_inputs import runnable_inputs
        from onnxopt.runtime.nondeterminism import nondeterministic_outputs
        from onnxopt.runtime.precision import coarsest_rounding, is_widened
        from onnxopt.runtime.session import NotRunnable, Session

        with executable(graph) as model:
            header = header_of(model)
            skipped = frozenset(nondeterministic_outputs(header))
            try:
                session = Session(model)
                if data is not None:
                    feeds = list(data.take(samples).batches())
                else:
                    feeds = runnable_inputs(header, session, max(1, samples // 4), dims=dict(dims))
                outputs = list(run_all(session, feeds, skipped))
            except NotRunnable as error:
                raise CheckFailed(f"cannot verify: {error}") from error
            rounding, widened = coarsest_rounding(header), is_widened(header)
            return cls(Interface.of(header), feeds, outputs, skipped, rounding, widened, complaint(model))

    def run(self, model: ModelProto | Path) -> list[Feeds]:
        """What another model gives on the same inputs.

        Raises:
            NotRunnable: onnxruntime refuses it.
        """
        from onnxopt.runtime.session import Session

        return list(run_all(Session(model), self.feeds, self.skipped))


def run_all(session: Session, feeds: list[Feeds], skipped: frozenset[str]) -> Iterator[Feeds]:
    """Run a session on each set of inputs; leave out the outputs that cannot be compared."""
    names = [spec.name for spec in session.outputs if spec.name not in skipped]
    for fed in feeds:
        yield session.run(fed, names) if names else {}
