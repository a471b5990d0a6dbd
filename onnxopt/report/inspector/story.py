"""What the page shows, as one JSON document: of a run, of a folder of snapshots, or of two models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt.report.inspector.history import History
from onnxopt.report.inspector.recording import Recording
from onnxopt.report.inspector.step import cost_figures, is_large, text_diff, text_of
from onnxopt.report.inspector.tables import tables

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.report.summary import Summary

FORMAT = 1
"""Of the document; the page refuses another."""


@dataclass
class Story:
    """A title, the steps, what became of the nodes, and tables of the finished graph."""

    title: str
    pipeline: str
    steps: Sequence[Mapping[str, Any]]
    history: History
    tables: Mapping[str, Any]
    more: Mapping[str, Any] = field(default_factory=dict)
    """What else is known of the run: accuracy, warnings, the target."""

    def to_json(self) -> dict[str, Any]:
        """The document that the page reads."""
        return {
            "format": FORMAT,
            "title": self.title,
            "pipeline": self.pipeline,
            "steps": list(self.steps),
            **self.history.to_json(),
            "tables": dict(self.tables),
            **self.more,
        }


def story_of_run(summary: Summary, recording: Recording) -> Story:
    """A finished run that `recording` watched."""
    from onnxopt.report.accuracy import accuracy_json
    from onnxopt.report.figures import verified_json
    from onnxopt.report.summary import difference

    result = summary.result
    steps = [dict(step) for step in recording.steps]
    for check in result.verified:
        found = next((place for place, run in enumerate(recording.runs) if run is check.run and run), len(steps) - 1)
        steps[found]["verified"] = verified_json(check)
    more = {
        "difference": difference(result),
        "compared_on": result.compared_on,
        "accuracy": None if summary.accuracy is None else accuracy_json(summary.accuracy),
        "target": result.context.target,
        "warnings": list(result.context.warnings),
        "not_verified": sorted(result.skipped),
    }
    assert recording.first is not None, "the run is finished"
    found_tables = tables(result.graph, recording.first, result.context, result.pipeline)
    source = result.source
    title = source.path.name if source.path else source.name
    return Story(title, str(result.pipeline.expand()), steps, recording.history, found_tables, more)


def story_of_failure(title: str, pipeline: str, recording: Recording, error: str) -> Story:
    """A run that ended with an error: what was seen until then, and the last step in red."""
    steps = [dict(step) for step in recording.steps]
    if steps and "failed" not in steps[-1]:
        steps[-1]["failed"] = error
    return Story(title, pipeline, steps, recording.history, {}, {"failed": error})


def story_of_snapshots(folder: Path) -> Story:
    """The models that `run --snapshots` left, in their order.

    Raises:
        BadModel: There are none, or one cannot be read.
    """
    from onnxopt.report.inspector.snapshots import snapshot_files

    return _story_of_files(folder.name or str(folder), snapshot_files(folder))


def story_of_two(before: Path, after: Path) -> Story:
    """Two models, whatever made one of the other.

    Raises:
        BadModel: One cannot be read.
    """
    return _story_of_files(f"{before.name} > {after.name}", [(before.name, before), (after.name, after)])


def _story_of_files(title: str, files: Sequence[tuple[str, Path]]) -> Story:
    from onnxopt import ir

    return story_of_graphs(title, ((name, ir.load(path)) for name, path in files))


def story_of_graphs(title: str, graphs: Iterable[tuple[str, ir.Graph]]) -> Story:
    """Named graphs, one after the other; which node of one is which of the next is found as `diff` finds it."""
    from onnxopt.ir.costs import costs
    from onnxopt.ir.diff.pairing import paired

    history, steps = History(), list[dict[str, Any]]()
    first: ir.Graph | None = None
    last: ir.Graph | None = None
    text: str | None = None
    for name, graph in graphs:
        if last is not None:
            history.continue_as(paired(last, graph))
        found = costs(graph, infer=not is_large(graph))
        delta = history.observe(graph, len(steps), found.macs_by_node)
        step = {"name": name, "costs": cost_figures(found), "delta": delta, "changed": True}
        was, text = text, text_of(graph)
        steps.append(step if last is None else {**step, "diff": text_diff(was, text)})
        first, last = first or graph, graph
    assert last is not None and first is not None, "there is a graph at least"
    return Story(title, "", steps, history, tables(last, first))
