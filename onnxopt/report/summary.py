"""A finished run: what it did in one line, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from onnxopt.report.accuracy import accuracy_json
from onnxopt.report.figures import verified_json
from onnxopt.report.sensitivity import sensitivity_json, sensitivity_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxopt.api import RunResult
    from onnxopt.ir.costs import Costs
    from onnxopt.pipeline.instruments.timing import Timed
    from onnxopt.pipeline.instruments.verify import Verified
    from onnxopt.pipeline.latency_guard import LatencyGuard
    from onnxopt.quantization.sensitivity import Sensitivity
    from onnxopt.runtime.evaluation import Accuracy


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    result: RunResult
    before: Costs
    after: Costs
    timed: Sequence[Timed] = ()
    accuracy: Accuracy | None = None
    """Of both models on evaluation data; None where that was not asked for."""

    @classmethod
    def of(cls, result: RunResult) -> Summary:
        """The summary of a run whose costs nobody took: the source is loaded again."""
        from onnxopt.ir.costs import costs

        return cls(result, costs(result.source.load()), costs(result.graph))

    @property
    def last(self) -> Verified | None:
        """The last comparison with the input model: of the finished graph, since what follows it changed nothing."""
        return last_check(self.result)

    @property
    def sensitivity(self) -> Sensitivity | None:
        """How much noise each layer alone brings, where a pass measured that."""
        from onnxopt.quantization.sensitivity import Sensitivity

        return self.result.context.kept(Sensitivity)

    def about(self) -> dict[str, Any]:
        """What an artifact's sidecar says of the run."""
        return {
            "pipeline": str(self.result.pipeline.expand()),
            "accuracy": None if self.accuracy is None else accuracy_json(self.accuracy),
            "verified": None if self.last is None else verified_json(self.last),
            "not_verified": sorted(self.result.skipped),
            "costs": self.after.to_json(),
        }

    def table(self) -> RenderableType:
        """Before and after, at most 100 columns wide."""
        from onnxopt.report.before_after import before_after

        return before_after(self)

    def passes_table(self) -> RenderableType:
        """What each pass did and took, at most 100 columns wide."""
        from onnxopt.report.passes_table import passes_table

        return passes_table(self)

    def sensitivity_table(self) -> RenderableType | None:
        """How much noise each layer alone brings; None where that was not measured."""
        found = self.sensitivity
        return None if found is None else sensitivity_table(found)

    def ends(self) -> list[tuple[str, dict[str, float]]]:
        """The figures of what went in and of what came out, for those who follow figures over runs."""
        found: list[tuple[str, dict[str, float]]] = []
        for name, costs in (("input", self.before), ("output", self.after)):
            figures = {"nodes": costs.nodes, "parameters": costs.parameters, "weight_bytes": costs.weight_bytes}
            found.append((name, {**figures, "macs": costs.macs}))
        if self.accuracy is not None:
            for (_, told), value in zip(found, (self.accuracy.reference, self.accuracy.model), strict=True):
                told[self.accuracy.metric.name] = value
        return found

    def to_json(self) -> dict[str, Any]:
        """Everything that the tables have, and the rewrites, refusals, statistics and warnings."""
        ctx = self.result.context
        return {
            "model": self.result.source.name,
            "pipeline": str(self.result.pipeline),
            "expanded": str(self.result.pipeline.expand()),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "difference": difference(self.result),
            "latency": latency_json(self.result.latency),
            "accuracy": None if self.accuracy is None else accuracy_json(self.accuracy),
            "sensitivity": sensitivity_json(self.sensitivity),
            "passes": [
                {
                    "index": run.index,
                    "pass": run.text,
                    "changed": run.changed,
                    "skipped": run.skipped,
                    "taken back": run.taken_back,
                    "rewrites": run.rewrites,
                    "seconds": run.seconds,
                }
                for run in self.result.runs
            ],
            "timing": [
                {
                    "index": timed.run.index,
                    "pass": timed.run.text,
                    "seconds": timed.run.seconds,
                    "before": timed.before.to_json(),
                    "after": timed.after.to_json(),
                }
                for timed in self.timed
            ],
            "verified": [verified_json(check) for check in self.result.verified],
            "not_verified": sorted(self.result.skipped),
            "rewrites": [asdict(rewrite) for rewrite in ctx.rewrites],
            "refusals": [asdict(refusal) for refusal in ctx.refusals],
            "statistics": dict(ctx.statistics),
            "warnings": list(ctx.warnings),
        }


def last_check(result: RunResult) -> Verified | None:
    """The comparison of the finished graph with the input model, where one was made."""
    return result.verified[-1] if result.verified else None


def difference(result: RunResult) -> str:
    """The largest difference of any output from the input model's, for people."""
    check = last_check(result)
    if check is None:
        return "not measured"
    worst = check.worst
    if worst is None:
        return "no output can be compared"
    if worst.bit_equal:
        return "none: bit for bit the same"
    return f"{worst.largest_absolute:.3g} in {worst.output}, {worst.largest_relative:.2g} of its range"


def latency_json(guard: LatencyGuard | None) -> dict[str, Any] | None:
    """How many times as long the finished model takes in onnxruntime; None where it was not measured."""
    if guard is None or guard.total is None or guard.noise is None:
        return None
    return {
        key: {"median": ratio.median, "interval": list(ratio.interval), "values": list(ratio.values)}
        for key, ratio in (("ratio", guard.total), ("noise", guard.noise))
    }


def headline(result: RunResult) -> str:
    """One line: the model, the pipeline, what became of it."""
    from onnxopt import ir
    from onnxopt.report.text import shown

    nodes = sum(1 for _ in ir.every_node(result.graph))
    rewrites = len(result.context.rewrites)
    return (
        f"{shown(result.source.name)}, {shown(str(result.pipeline))}: {rewrites} rewrite{'s' * (rewrites != 1)}, "
        f"{result.nodes_before} > {nodes} nodes; largest output difference: {shown(difference(result), 100)}"
    )
