"""The table of a run: operators, nodes, parameters, bytes, MACs before and after, and the largest output difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onnxopt.report.accuracy import accuracy_rows, judged_on
from onnxopt.report.summary import difference
from onnxopt.report.text import cell, empty_table, shown
from onnxopt.report.units import amount, change, size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from onnxopt.report.summary import Summary

_OPERATORS = 12
"""So many operators have a row of their own: the changed ones first, then the commonest."""
_BAR = 12
_WIDTH = 92


def before_after(summary: Summary) -> RenderableType:
    """A panel of at most 100 columns."""
    from rich.console import Group
    from rich.panel import Panel

    table = empty_table()
    table.add_column("", min_width=20, max_width=40, no_wrap=True)
    for heading in ("before", "after"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=10)
    table.add_column("", width=_BAR)
    table.add_column("change", justify="right", no_wrap=True, min_width=7)
    _add_operators(table, summary)
    table.add_section()
    for label, show, one, other in _figures(summary):
        _add(table, label, show, one, other)
    if summary.accuracy is not None:
        table.add_section()
        for name, before, after, changed, colour in accuracy_rows(summary.accuracy):
            table.add_row(cell(name, "bold", 40), cell(before), cell(after, "bold"), "", cell(changed, colour))
    source = summary.result.source
    title = cell(source.path.name if source.path and not source.given else source.name, "bold", 56)
    title.append("  ").append(shown(str(summary.result.pipeline), 34), "not bold cyan")
    return Panel(Group(table, "", *_remarks(summary)), title=title, title_align="left", expand=False, padding=(1, 2))


def _add_operators(table: Table, summary: Summary) -> None:
    before, after = summary.before.operators, summary.after.operators
    names = sorted(
        {*before, *after},
        key=lambda name: (
            before.get(name, 0) == after.get(name, 0),
            -max(before.get(name, 0), after.get(name, 0)),
            name,
        ),
    )
    for name in names[:_OPERATORS]:
        _add(table, name, str, before.get(name, 0), after.get(name, 0))
    if rest := names[_OPERATORS:]:
        table.add_row(cell(f"{len(rest)} more operators", "dim"))


def _figures(summary: Summary) -> list[tuple[str, Callable[[int], str], int, int]]:
    one, other = summary.before, summary.after
    return [
        ("nodes", str, one.nodes, other.nodes),
        ("parameters", amount, one.parameters, other.parameters),
        ("weights", size, one.weight_bytes, other.weight_bytes),
        ("MACs", amount, one.macs, other.macs),
        ("peak activations", size, one.peak_activation_bytes, other.peak_activation_bytes),
    ]


def _add(table: Table, label: str, show: Callable[[int], str], before: int, after: int) -> None:
    from rich.progress_bar import ProgressBar

    colour = "green" if after < before else "red" if after > before else "dim"
    bar = ProgressBar(
        total=max(before, after, 1), completed=after, width=_BAR, complete_style=colour, finished_style=colour
    )
    style = "dim" if before == after else ""
    table.add_row(cell(label, style, 40), cell(show(before), style), cell(show(after), style or "bold"), bar,
                  cell(change(before, after), colour))  # fmt: skip


def _remarks(summary: Summary) -> list[Text]:
    """The lines below: the largest difference, how it was had, and what the figures assume."""
    from rich.text import Text

    result, check = summary.result, summary.last
    style = "yellow" if check is None else "green" if check.worst is not None else "yellow"
    lines = [Text("largest output difference   ", "bold").append(shown(difference(result), 62), f"bold {style}")]
    if check is not None:
        lines.append(Text(shown(f"compared on {result.compared_on}, {_moments(summary)}", _WIDTH), "dim"))
    if summary.accuracy is not None:
        lines.append(Text(shown(f"{summary.accuracy.metric.name} on {judged_on(summary.accuracy)}", _WIDTH), "dim"))
    guard = result.latency
    if guard is not None and guard.total is not None and guard.noise is not None:
        lines.append(Text("latency, of the input's     ", "bold").append(str(guard.total), "bold green"))
        lines.append(Text(f"in onnxruntime with its optimizations; input against itself: {guard.noise}", "dim"))
    if result.skipped:
        lines.append(Text(shown(f"not compared, being random: {', '.join(sorted(result.skipped))}", _WIDTH), "yellow"))
    assumed = summary.after.assumptions
    if assumed:
        lines.append(Text(shown(f"figures for: {'; '.join(assumed)}", _WIDTH), "dim"))
    if summary.after.uncounted:
        kinds = ", ".join(summary.after.uncounted)
        lines.append(Text(shown(f"MACs not known, and left out: {kinds}", _WIDTH), "dim"))
    return lines


def _moments(summary: Summary) -> str:
    checked = [check for check in summary.result.verified if check.run is not None]
    if not checked:
        return "at the end"
    return f"after each of {len(checked)} passes" if len(checked) > 1 else "after the one pass that changed something"
