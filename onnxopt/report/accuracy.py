"""How accurate a model is beside the one that it was made of: as a table, as rows of another, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt.report.text import cell, empty_table, shown
from onnxopt.report.units import change, size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxopt.quantization.layerwise import TensorNoise
    from onnxopt.runtime.evaluation import Accuracy

Row = tuple[str, str, str, str, str]
"""Label, reference, model, change, and the colour of the change."""


def accuracy_rows(found: Accuracy) -> list[Row]:
    """The metric of both models, and the signal-to-noise ratio of each output where the metric is none itself."""
    metric = found.metric
    own = metric.show(found.reference) if metric.perfect is None else ""
    rows = [(metric.name, own, metric.show(found.model), _lost(found), _colour(found))]
    if metric.perfect is None or metric.name != "snr":
        rows += [(f"SNR of {name}", "", decibel(value), "", "dim") for name, value in found.outputs.items()]
    return rows


def accuracy_table(found: Accuracy, names: tuple[str, str], sizes: Mapping[str, tuple[int, int]]) -> RenderableType:
    """Two models side by side: accuracy, and bytes of what `sizes` names. At most 100 columns."""
    from rich.console import Group

    table = empty_table()
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(cell(Path(name).name, "", 28), justify="right", no_wrap=True, min_width=10)
    table.add_column("change", justify="right", no_wrap=True)
    for label, one, other, changed, colour in accuracy_rows(found):
        table.add_row(cell(label, "", 28), cell(one), cell(other, "bold"), cell(changed, colour))
    for label, (before, after) in sizes.items():
        less = "green" if after < before else "dim"
        table.add_row(label, size(before), cell(size(after), "bold"), cell(change(before, after), less))
    return Group(table, "", cell(judged_on(found), "dim", 96))


def judged_on(found: Accuracy) -> str:
    """The samples, and what outputs were compared with, for people."""
    against = ", ".join(f"'{name}'" for name in found.metric.extras) or "what the reference gives"
    return f"{found.samples} sample{'s' * (found.samples != 1)} of {found.source}, against {shown(against, 40)}"


def accuracy_json(found: Accuracy) -> dict[str, Any]:
    """Everything that the table has."""
    metric = found.metric
    return {
        "metric": metric.name,
        "unit": metric.unit,
        "reference": found.reference if metric.perfect is None else None,
        "model": found.model,
        "drop": found.drop if metric.perfect != math.inf else None,
        "samples": found.samples,
        "data": found.source,
        "arrays": list(metric.extras),
        "snr": dict(found.outputs),
        "broken": found.broken or None,
    }


def layers_table(found: Sequence[TensorNoise]) -> RenderableType:
    """The tensors in the order of the graph, each with its signal-to-noise ratio. At most 100 columns."""
    table = empty_table()
    table.add_column("tensor", no_wrap=True)
    table.add_column("operator", no_wrap=True)
    table.add_column("SNR", justify="right", no_wrap=True)
    worst = min((each.snr for each in found if not math.isnan(each.snr)), default=0.0)
    for each in found:
        style = "bold red" if math.isnan(each.snr) else "yellow" if each.snr == worst < math.inf else ""
        table.add_row(cell(each.tensor, style, 56), cell(each.op, "dim", 24), cell(decibel(each.snr), style))
    return table


def layers_json(found: Sequence[TensorNoise]) -> list[dict[str, Any]]:
    """A row for each tensor; SNR in dB."""
    return [{"tensor": each.tensor, "operator": each.op, "snr": each.snr} for each in found]


def decibel(value: float) -> str:
    """A signal-to-noise ratio."""
    return "NaN" if math.isnan(value) else "equal" if value == math.inf else f"{value:.1f} dB"


def _lost(found: Accuracy) -> str:
    if found.metric.perfect == math.inf:
        return ""
    return "none" if found.drop == 0 else found.metric.show(-found.drop, "+")


def _colour(found: Accuracy) -> str:
    return "dim" if found.drop == 0 else "green" if found.drop < 0 else "yellow"
