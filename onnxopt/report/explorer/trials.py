"""A graph, the passes that were applied to it, and those that would change it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnxopt.errors import OnnxoptError
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.instruments.provenance import Provenance
from onnxopt.pipeline.manager import Manager
from onnxopt.pipeline.pipeline import parse_pipeline
from onnxopt.pipeline.registry import Registry

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.data import DataSet
    from onnxopt.pipeline.base import Rewrite


@dataclass(frozen=True)
class Applied:
    """A graph, and what made it of the one before."""

    pipeline: str
    """Empty for the graph that was opened."""
    graph: ir.Graph
    rewrites: tuple[Rewrite, ...] = ()
    refusals: tuple[Rewrite, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A pass that would change the graph."""

    name: str
    preserves: str
    rewrites: int
    nodes: int
    """How many nodes there would be more, or less."""


@dataclass
class Trials:
    """The graphs from the opened one to the present one; each is left as it is, so that undoing costs nothing."""

    graph: ir.Graph
    registry: Registry = field(default_factory=Registry)
    data: DataSet | None = None
    target: str | None = None
    steps: list[Applied] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.steps = [Applied("", self.graph)]

    @property
    def now(self) -> Applied:
        """The present graph."""
        return self.steps[-1]

    @property
    def pipeline(self) -> str:
        """What was applied, as a pipeline."""
        return ",".join(step.pipeline for step in self.steps[1:])

    def apply(self, pipeline: str) -> bool:
        """Run passes on a copy of the present graph, and go on from there if they changed anything.

        Raises:
            BadPipeline: There is no such pass or option.
            OnnxoptError: A pass needs what was not given, or failed.
        """
        done, changed = self._run(pipeline)
        if changed:
            self.steps.append(done)
        return changed

    def undo(self) -> bool:
        """Go back to the graph before; whether there is one."""
        if len(self.steps) < 2:
            return False
        self.steps.pop()
        return True

    def candidates(self) -> Iterator[Candidate]:
        """The passes, with their defaults, that would change the present graph: each is tried on a copy of it.

        A pass that needs data or an option that it was not given is none.
        """
        present = self.now
        for name in self.registry.names():
            try:
                done, changed = self._run(name)
                preserves = self.registry.get(name).preserves.value
            except OnnxoptError:
                continue
            if self.now is not present:  # somebody went on meanwhile
                return
            if changed:
                difference = _count(done.graph) - _count(present.graph)
                yield Candidate(name, preserves, len(done.rewrites), difference)

    def _run(self, pipeline: str) -> tuple[Applied, bool]:
        ctx = Context(self.target, self.data)
        graph = self.now.graph.copy()
        manager = Manager([Provenance()])
        manager.run(graph, parse_pipeline(pipeline, self.registry), ctx)
        applied = Applied(pipeline, graph, tuple(ctx.rewrites), tuple(dict.fromkeys(ctx.refusals)))
        return applied, any(run.changed for run in manager.runs)


def _count(graph: ir.Graph) -> int:
    from onnxopt import ir

    return sum(1 for _ in ir.every_node(graph))
