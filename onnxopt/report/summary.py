"""A finished run as a table before and after, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnxopt.report.units import amount, change, size

if TYPE_CHECKING:
    from rich.table import Table

    from onnxopt.api import RunResult
    from onnxopt.ir.costs import Costs
    from onnxopt.pipeline.instruments.timing import Timed
    from onnxopt.pipeline.instruments.verify import Verified

_OPERATORS = 12
"""So many operators have a row of their own: the changed ones first, then the commonest."""


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    result: RunResult
    before: Costs
    after: Costs
    timed: Sequence[Timed] = ()

    @property
    def last(self) -> Verified | None:
        """The comparison of the finished graph with the input model, where one was made."""
        return self.result.verified[-1] if self.result.verified else None

    def about(self) -> dict[str, Any]:
        """What an artifact's sidecar says of the run."""
        return {
            "pipeline": str(self.result.pipeline.expand()),
            "verified": None if self.last is None else _verified(self.last),
            "costs": self.after.to_json(),
        }

    def difference(self) -> str:
        """The largest difference of any output from the input model's, as the table prints it."""
        if self.last is None:
            return "not measured"
        worst = self.last.worst
        if worst is None:
            return "nothing to compare"
        if worst.bit_equal:
            return "0 (bit for bit)"
        return f"{worst.largest_absolute:.3g} in {worst.output} ({worst.largest_relative:.2g} of its range)"

    def table(self) -> Table:
        """Before and after, at most 100 columns wide."""
        from rich.table import Table

        table = Table(title=f"{self.result.source.name}  [dim]{self.result.pipeline}[/dim]", title_justify="left")
        for heading in ("", "before", "after", "change"):
            table.add_column(heading, justify="right" if heading else "left", no_wrap=bool(heading))
        for operator in self._operators():
            one, other = self.before.operators.get(operator, 0), self.after.operators.get(operator, 0)
            table.add_row(operator, str(one), str(other), change(one, other), style="" if one != other else "dim")
        hidden = len(set(self.before.operators) | set(self.after.operators)) - len(self._operators())
        if hidden > 0:
            table.add_row(f"{hidden} more operators", "", "", "", style="dim")
        table.add_section()
        for label, show, one, other in self._figures():
            table.add_row(label, show(one), show(other), change(one, other))
        table.add_section()
        table.add_row("largest output difference", "", self.difference(), "", style="bold")
        return table

    def _operators(self) -> list[str]:
        names = set(self.before.operators) | set(self.after.operators)

        def rank(name: str) -> tuple[bool, int, str]:
            one, other = self.before.operators.get(name, 0), self.after.operators.get(name, 0)
            return (one == other, -max(one, other), name)

        return sorted(names, key=rank)[:_OPERATORS]

    def _figures(self) -> list[tuple[str, Any, float, float]]:
        one, other = self.before, self.after
        return [
            ("nodes", str, one.nodes, other.nodes),
            ("parameters", amount, one.parameters, other.parameters),
            ("weights", size, one.weight_bytes, other.weight_bytes),
            ("MACs", amount, one.macs, other.macs),
            ("peak activations", size, one.peak_activation_bytes, other.peak_activation_bytes),
        ]

    def passes_table(self) -> Table:
        """What each pass did and took."""
        from rich.table import Table

        table = Table(title="passes", title_justify="left")
        for heading in ("#", "pass", "seconds", "rewrites", "nodes", "weights", "MACs", "difference"):
            table.add_column(heading, justify="left" if heading == "pass" else "right")
        verified = {check.run.index: check for check in self.result.verified if check.run is not None}
        for timed in self.timed:
            run, check = timed.run, verified.get(timed.run.index)
            worst = check.worst if check else None
            table.add_row(
                str(run.index),
                run.text,
                f"{timed.seconds:.3f}",
                str(run.rewrites or ""),
                _moved(timed.before.nodes, timed.after.nodes, str),
                _moved(timed.before.weight_bytes, timed.after.weight_bytes, size),
                _moved(timed.before.macs, timed.after.macs, amount),
                "" if worst is None else "bit for bit" if worst.bit_equal else f"{worst.largest_absolute:.2g}",
                style="" if run.changed else "dim",
            )
        return table

    def to_json(self) -> dict[str, Any]:
        """Everything that the tables have, and the rewrites, refusals, statistics and warnings."""
        ctx = self.result.context
        return {
            "model": self.result.source.name,
            "pipeline": str(self.result.pipeline),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "passes": [
                {"index": run.index, "pass": run.text, "changed": run.changed, "rewrites": run.rewrites}
                for run in self.result.runs
            ],
            "timing": [
                {
                    "index": timed.run.index,
                    "pass": timed.run.text,
                    "seconds": timed.seconds,
                    "before": timed.before.to_json(),
                    "after": timed.after.to_json(),
                }
                for timed in self.timed
            ],
            "verified": [_verified(check) for check in self.result.verified],
            "rewrites": [vars(rewrite) for rewrite in ctx.rewrites],
            "refusals": [vars(refusal) for refusal in ctx.refusals],
            "statistics": dict(ctx.statistics),
            "warnings": list(ctx.warnings),
        }


def _moved(before: float, after: float, show: Any) -> str:
    return str(show(after)) if before == after else f"{show(before)} > {show(after)}"


def _verified(check: Verified) -> dict[str, Any]:
    return {
        "after": None if check.run is None else check.run.index,
        "promise": check.promise.value,
        "worst": None if check.worst is None else difference_json(check.worst),
    }


def difference_json(difference: Any) -> dict[str, Any]:
    """A Difference as JSON, its infinite figures as None."""
    figures = {key: value for key, value in vars(difference).items() if key != "where"}
    figures = {key: None if value in (float("inf"), float("-inf")) else value for key, value in figures.items()}
    return {**figures, "where": None if difference.where is None else list(difference.where)}
