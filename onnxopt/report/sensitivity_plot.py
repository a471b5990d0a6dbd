"""How accurate a model is with each layer pruned alone: as a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from onnxopt.atomic import replacing
from onnxopt.errors import BadOption
from onnxopt.report.pruning_sensitivity import remarks
from onnxopt.report.text import shown

if TYPE_CHECKING:
    from onnxopt.pruning.sensitivity import Curve, Sweep

_NAMED = 12
"""Layers that have a colour and a name: the most sensitive ones; the others are grey."""


def require_plotting() -> None:
    """Refuse to plot where nothing plots.

    Raises:
        BadOption: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise BadOption('--plot needs matplotlib, which is not installed: pip install "onnxopt[plot]"') from error


def plot_sweep(found: Sweep, path: Path, title: str) -> None:
    """Write a PNG: a line for each layer, the most sensitive ones in colour.

    What cannot be drawn, infinite or not a number, is left out of the lines.

    Raises:
        BadOption: matplotlib is not installed.
    """
    require_plotting()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    sparsities = [100 * level for level in found.levels]
    ranked = sorted(found.curves, key=_goodness)
    for curve in reversed(ranked[_NAMED:]):
        axes.plot(sparsities, _drawn(curve), color="0.8", linewidth=1, zorder=1)
    for place, curve in enumerate(ranked[:_NAMED]):
        style = "-" if place < 10 else "--"  # the cycle of colours has ten
        label = shown(curve.layer, 44).replace("$", r"\$")
        axes.plot(sparsities, _drawn(curve), style, color=f"C{place % 10}", marker="o", markersize=3, label=label)
    if math.isfinite(found.reference) and found.metric.perfect is None:
        axes.axhline(found.reference, color="black", linewidth=0.8, linestyle=":", label="the original")
    rest = len(ranked) - _NAMED
    axes.set_xlabel("zeros in the layer, %" + (f"   ({rest} less sensitive layers in grey)" if rest > 0 else ""))
    axes.set_ylabel(f"{found.metric.name}, {found.metric.unit}" if found.metric.unit else found.metric.name)
    axes.set_title(f"{title}: each layer pruned alone\n{shown(remarks(found)[1], 96)}", fontsize=10, parse_math=False)
    axes.grid(visible=True, alpha=0.3)
    if found.curves:
        figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    with replacing(path) as file:
        figure.savefig(file, format="png")


def _drawn(curve: Curve) -> list[float]:
    return [value if math.isfinite(value) else math.nan for value in curve.values]


def _goodness(curve: Curve) -> tuple[float, ...]:
    """The mean, and what is not a number below everything."""
    finite = [value for value in curve.values if math.isfinite(value)]
    broken = sum(math.isnan(value) for value in curve.values)
    return (-broken, sum(finite) / len(finite) if finite else math.inf)
