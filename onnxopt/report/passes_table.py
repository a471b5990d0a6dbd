"""The table of `--timing`: what each pass did and took."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Literal

from onnxopt.report.text import cell, empty_table
from onnxopt.report.units import amount, size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from onnxopt.ir.costs import Costs
    from onnxopt.pipeline.instruments.timing import Timed
    from onnxopt.pipeline.instruments.verify import Verified
    from onnxopt.report.summary import Summary

_COLUMNS = {"#": 2, "pass": 12, "seconds": 7, "rewrites": 8, "nodes": 6, "weights": 9, "MACs": 7, "difference": 10}
"""Headings and least widths; the name of the pass gives way before any figure does."""


def passes_table(summary: Summary) -> RenderableType:
    """The input model, a row for each pass that ran with the figures after it, then what the passes counted."""
    from rich.console import Group

    table = _empty()
    if summary.timed:
        table.add_row("", cell("input", "dim"), "", "", *_figures(None, summary.timed[0].before))
    checks = {check.run.index: check for check in summary.result.verified if check.run is not None}
    for timed in summary.timed:
        table.add_row(*_row(timed, checks.get(timed.run.index)), style="" if timed.run.changed else "dim")
    table.add_section()
    seconds = sum(timed.run.seconds for timed in summary.timed)
    rewrites = sum(timed.run.rewrites for timed in summary.timed)
    table.add_row("", "all", cell(f"{seconds:.3f}"), cell(rewrites), style="bold")
    counted = _counted(summary)
    return Group(table, "", counted) if counted else table


def _empty() -> Table:
    table = empty_table(padding=(0, 1, 0, 0))
    for heading, width in _COLUMNS.items():
        justify: Literal["left", "right"] = "left" if heading == "pass" else "right"
        table.add_column(heading, justify=justify, no_wrap=heading != "pass", min_width=width)
    return table


def _row(timed: Timed, check: Verified | None) -> list[Text]:
    run = timed.run
    name = cell(run.text, width=40)
    name.no_wrap, name.overflow = True, "ellipsis"
    return [
        cell(run.index),
        name,
        cell(f"{run.seconds:.3f}"),
        cell(run.rewrites or ""),
        *_figures(timed.before, timed.after),
        cell(_difference(check)),
    ]


def _figures(before: Costs | None, after: Costs) -> list[Text]:
    """Nodes, weights and MACs, those in colour that a pass moved."""

    def figure(text: str, old: int, new: int) -> Text:
        return cell(text, "" if old == new else "bold green" if new < old else "bold red")

    one = before or after
    return [
        figure(str(after.nodes), one.nodes, after.nodes),
        figure(size(after.weight_bytes), one.weight_bytes, after.weight_bytes),
        figure(amount(after.macs), one.macs, after.macs),
    ]


def _difference(check: Verified | None) -> str:
    if check is None or check.worst is None:
        return ""
    return "none" if check.worst.bit_equal else f"{check.worst.largest_absolute:.1e}"


def _counted(summary: Summary) -> Table | None:
    """What the passes counted, a line for each pass."""
    from rich.table import Table

    by_pass: defaultdict[str, list[str]] = defaultdict(list)
    for key, count in summary.result.context.statistics.items():
        name, _, what = key.partition(": ")
        by_pass[name].append(f"{what} {count:,}")
    table = Table.grid(padding=(0, 2))
    for name, figures in by_pass.items():
        table.add_row(cell(name, "dim", 32), cell(", ".join(figures), "dim", 1000))
    return table if by_pass else None
