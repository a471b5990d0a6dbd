"""What a target still wants of a graph when the pipeline is through: the passes that its options ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnxopt.pipeline.backend import Artifact, Emission
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.instruments.verify import Verify
from onnxopt.pipeline.manager import Manager
from onnxopt.pipeline.pipeline import parse_pipeline
from onnxopt.pipeline.registry import Registry

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.data import DataSet


@dataclass(frozen=True)
class Prepared:
    """A graph as a target is given it."""

    graph: ir.Graph
    pipeline: str = ""
    """The passes that ran for the target; empty for none."""
    verified: Mapping[str, Any] | None = None
    """How far its outputs are from those of the graph before these passes; None where nobody looked."""
    notes: tuple[str, ...] = ()
    """What people shall hear of it."""

    def about(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """What a sidecar says of a run and of these passes, which stand at the end of its pipeline."""
        if not self.pipeline:
            return dict(run)
        passes = ",".join(filter(None, (run.get("pipeline"), self.pipeline)))
        before = [key for key in ("verified", "accuracy", "costs") if run.get(key) is not None]
        own = {"pipeline": self.pipeline, "verified": self.verified, "of_the_graph_before": before}
        return {**run, "pipeline": passes, "prepared": own}


def emit(
    graph: ir.Graph,
    emission: Emission,
    ctx: Context,
    about: Mapping[str, Any],
    data: DataSet | None,
    *,
    verifies: bool,
) -> Artifact:
    """Write an artifact of a graph once the passes ran that its backend asks for.

    Args:
        graph: As the last pass left it; it stays so.
        emission: The artifact.
        ctx: Of the run.
        about: What its sidecar says of the run.
        data: Samples for the target's own engine; those of the run where there are none, and where it
            calibrates.
        verifies: Whether what these passes do is compared.

    Raises:
        OnnxoptError: As `prepared` and `Emission.write`.
    """
    ready = prepared(graph, emission, ctx, verifies=verifies)
    samples = ctx.data if data is None or emission.backend.calibrates else data
    artifact = emission.write(ready.graph, ready.about(about), samples, ctx.report_progress)
    notes = list(ready.notes)
    if ready.pipeline and about.get("accuracy") is not None:
        notes.append(f"the accuracy is that of the graph before; --passes with {ready.pipeline} judges the one after")
    return replace(artifact, notes=(*notes, *artifact.notes))


def prepared(graph: ir.Graph, emission: Emission, ctx: Context, *, verifies: bool) -> Prepared:
    """Run what a backend asks for on a copy of the graph; the graph itself where it asks for nothing.

    Args:
        graph: As the last pass left it.
        emission: For which target, and how.
        ctx: Of the run: its data, what its passes left, and where warnings and rewrites go.
        verifies: Whether to compare the outputs with those of the graph without.

    Raises:
        BadOption: A pass needs what is not there, such as data.
        CheckFailed: The passes broke the graph.
    """
    wanted = emission.backend.preparation(graph)
    if not wanted.pipeline:
        return Prepared(graph)
    target, _, _ = emission.text.partition("{")
    pipeline = parse_pipeline(wanted.pipeline, Registry())
    verify = Verify(ctx.data, each=False) if verifies and not wanted.unverifiable else None
    ready = graph.copy()
    Manager([] if verify is None else [verify]).run(ready, pipeline, replace(ctx, target=target))
    worst = verify.results[-1].worst if verify is not None and verify.results else None
    far = "" if worst is None or worst.bit_equal else f", SNR of {worst.output} {worst.snr:.1f} dB to the graph without"
    unseen = f", and is not compared: {wanted.unverifiable}" if wanted.unverifiable else ""
    note = f"{emission.path.name}: {pipeline} ran for it{far or unseen}"
    found = None
    if verify is not None:
        found = {"on": verify.compared_on, "worst": None if worst is None else vars(worst)}
    return Prepared(ready, str(pipeline.expand()), found, (note,))
