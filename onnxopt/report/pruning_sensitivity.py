"""How accurate a model is with each layer pruned alone: as a table and as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnxopt.report.text import cell, empty_table
from onnxopt.report.units import amount

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxopt.pruning.sensitivity import Allocation, Curve, Sweep

_WIDTH = 100
_FIGURE, _SIZE = 6, 8
"""Columns that a figure, and a number of weights, takes, with the gap before it."""
_LEAST, _MOST = 36, 60
"""Of a layer's name."""
_DB = 10.0
"""Of a metric without an end: so many dB below the best of a table are as bad as it gets in colour."""


def sweep_table(found: Sweep) -> RenderableType:
    """A row for each layer, in the order of the model; of many sparsities those that fit. 100 columns."""
    from rich.console import Group

    places = _spread(len(found.levels), (_WIDTH - _LEAST - _SIZE) // _FIGURE)
    table = empty_table((0, 0, 0, 0))  # there is a gap of 1 between columns anyway
    table.add_column("pruned alone", no_wrap=True)
    table.add_column("weights", justify="right", no_wrap=True)
    for place in places:
        table.add_column(_percent(found.levels[place]), justify="right", no_wrap=True, min_width=_FIGURE - 1)
    width = min(_MOST, _WIDTH - _SIZE - len(places) * _FIGURE)
    for curve in found.curves:
        figures = [cell(_figure(curve.values[place]), _colour(found, curve, place)) for place in places]
        table.add_row(cell(curve.layer, "", width), cell(amount(curve.size), "dim"), *figures)
    return Group(table, "", *(cell(line, "dim", 98) for line in remarks(found)))


def remarks(found: Sweep) -> list[str]:
    """What the figures are, in lines of at most 100 characters."""
    metric = found.metric
    against = ", ".join(f"'{name}'" for name in metric.extras) or "what the original gives"
    whole = "" if metric.perfect is not None else f"; the original has {metric.show(found.reference)}"
    unit = f" in {metric.unit}" if metric.unit else ""
    return [
        f"{metric.name}{unit} against the share of zeros in one layer{whole}",
        f"{found.samples} sample{'s' * (found.samples != 1)} of {found.source}, against {against}",
    ]


def sweep_json(found: Sweep) -> dict[str, Any]:
    """Everything that was measured."""
    metric = found.metric
    return {
        "metric": metric.name,
        "unit": metric.unit,
        "reference": found.reference if metric.perfect is None else None,
        "samples": found.samples,
        "data": found.source,
        "arrays": list(metric.extras),
        "sparsities": list(found.levels),
        "layers": [
            {
                "layer": curve.layer,
                "weight": curve.weight,
                "size": curve.size,
                "values": list(curve.values),
                "snr": list(curve.snrs),
            }
            for curve in found.curves
        ],
    }


def allocation_json(found: Allocation | None) -> dict[str, Any] | None:
    """What a search found, and what it measured before; None where there was none."""
    if found is None:
        return None
    metric = found.chosen.metric
    return {
        "metric": metric.name,
        "unit": metric.unit,
        "max_drop": found.max_drop,
        "reference": found.chosen.reference if metric.perfect is None else None,
        "model": found.chosen.model,
        "samples": found.chosen.samples,
        "sparsity": found.sparsity,
        "shares": dict(found.shares),
        "alone": sweep_json(found.sweep),
    }


def _spread(count: int, room: int) -> list[int]:
    """Which of so many columns are shown: all, or evenly spread ones, the first and the last among them."""
    if count <= room:
        return list(range(count))
    return sorted({round(place * (count - 1) / (room - 1)) for place in range(room)})


def _percent(level: float) -> str:
    return f"{100 * level:.3g} %"


def _figure(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "equal" if value > 0 else "-inf"
    return next((text for digits in (2, 1) if len(text := f"{value:.{digits}f}") < _FIGURE), f"{value:.0f}")


def _colour(found: Sweep, curve: Curve, place: int) -> str:
    value = curve.values[place]
    if math.isnan(value):
        return "bold red"
    if math.isinf(found.reference):
        best = max((each for row in found.curves for each in row.values if math.isfinite(each)), default=0.0)
        lost = (best - value) / (2 * _DB)
    elif found.metric.unit == "%":
        lost = (found.reference - value) / _DB
    elif found.metric.unit == "dB":
        lost = found.reference - value
    else:
        lost = (found.reference - value) / max(abs(found.reference) / 10, 1e-12)
    return "red" if lost >= 1 else "yellow" if lost >= 0.1 else ""
