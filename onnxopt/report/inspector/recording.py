"""Takes down a run for the page, pass after pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnxopt.pipeline.base import Context, describe
from onnxopt.pipeline.instruments.costing import costs_with
from onnxopt.pipeline.manager import Instrument, PassRun
from onnxopt.report.inspector.history import History
from onnxopt.report.inspector.step import cost_figures, is_large, text_diff, text_of

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.ir.costs import Costs


@dataclass
class Recording(Instrument):
    """Keeps of every pass what changed, not the graphs; `onnxopt.report.inspector.story` makes the page's facts of it.

    It looks at the whole graph once after each pass that changed it.
    """

    dims: Mapping[str, int] = field(default_factory=dict)
    """Sizes of symbolic dimensions, for the costs."""
    history: History = field(default_factory=History)
    steps: list[dict[str, Any]] = field(default_factory=list)
    """The input model, then every pass that was reached."""
    runs: list[PassRun | None] = field(default_factory=list)
    """The pass of each step; None for the input model."""
    first: ir.Graph | None = None
    """A copy of the input model; weights are shared."""
    _costs: Costs | None = None
    _text: str | None = None
    _labels: dict[str, int] = field(default_factory=dict)
    _told: set[tuple[str, str, str]] = field(default_factory=set)

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """The input model."""
        self.history, self.steps, self.runs, self._told = History(), [], [], set()
        self.first = graph.copy()
        self._add(None, graph, {"name": "input"})
        self._text = text_of(graph)
        self._labels = self._labelled(graph)

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """The graph as the pass left it, and why."""
        self._add(run, graph, {"refusals": self._refusals(run, ctx)})
        earlier = self._labels
        if run.changed:
            before, self._text = self._text, text_of(graph)
            self.steps[-1]["diff"] = text_diff(before, self._text)
            self._labels = self._labelled(graph)
        self.steps[-1]["rewrites"] = _rewrites(run, ctx, {**self._labels, **earlier})

    def failed(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """A pass raised: the graph may be anything, so it is not looked at."""
        self.runs.append(run)
        rewrites = _rewrites(run, ctx, self._labels)
        self.steps.append({"name": run.name, "text": run.text, "rewrites": rewrites, "failed": str(run.error)})

    def _add(self, run: PassRun | None, graph: ir.Graph, facts: dict[str, Any]) -> None:
        step: dict[str, Any] = dict(facts)
        if run is not None:
            step |= {
                "name": run.name,
                "text": run.text,
                "seconds": run.seconds,
                "changed": run.changed,
                "taken_back": run.taken_back,
                "promise": run.pass_.preserves.value,
            }
        if run is None or run.changed:
            self._costs = costs_with(graph, self.dims, infer=not is_large(graph))
            step["costs"] = cost_figures(self._costs)
            step["delta"] = self.history.observe(graph, len(self.steps), self._costs.macs_by_node)
        self.runs.append(run)
        self.steps.append(step)

    def _labelled(self, graph: ir.Graph) -> dict[str, int]:
        """The numbers of nodes, by how rewrites name them; the first of those that are named alike."""
        from onnxopt import ir

        found: dict[str, int] = {}
        for node in ir.every_node(graph):
            number = self.history.number(node)
            if number is not None:
                found.setdefault(describe(node), number)
        return found

    def _refusals(self, run: PassRun, ctx: Context) -> list[dict[str, str]]:
        """Each reason once: a pass in a `repeat` says it in every round."""
        found = dict.fromkeys((one.pass_name, one.what, one.where) for one in ctx.refusals if one.pass_name == run.name)
        new = [one for one in found if one not in self._told]
        self._told.update(new)
        return [{"what": what, "where": where} for _, what, where in new]


def _rewrites(run: PassRun, ctx: Context, numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    """What was done, and to which node, where there is one of that name."""
    return [
        {"what": one.what, "where": one.where, **({"node": numbers[one.where]} if one.where in numbers else {})}
        for one in ctx.rewrites[run.first_rewrite :]
    ]
