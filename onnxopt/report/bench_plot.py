"""Size, latency and accuracy of models side by side: as a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt.atomic import replacing
from onnxopt.report.sensitivity_plot import require_plotting
from onnxopt.report.text import shown

if TYPE_CHECKING:
    from onnxopt.pipeline.benchmark import Benchmark

_KIB = 1024


def plot_bench(found: Benchmark, path: Path, title: str) -> None:
    """Write a PNG: bars for each model, from left to right size, latency and, where it was judged, accuracy.

    Latency is the median of the runs, for each size of a batch; a line goes on to the 90th percentile.

    Raises:
        BadOption: matplotlib is not installed.
    """
    require_plotting()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    judged = any(each.accuracy is not None for each in found.figures)
    count = len(found.figures)
    figure = Figure(figsize=(12, 1.8 + 0.5 * count), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3 if judged else 2, sharey=True, squeeze=False)[0]
    _bars(panels[0], [each.bytes / _KIB for each in found.figures], "size, KiB", "C0")
    _latency(panels[1], found)
    if judged:
        values = [math.nan if each.accuracy is None else each.accuracy.model for each in found.figures]
        metric = next(each.accuracy.metric for each in found.figures if each.accuracy is not None)
        _bars(panels[2], values, f"{metric.name}, {metric.unit}" if metric.unit else metric.name, "C2")
    names = [shown(each.entry.name, 40).replace("$", r"\$") for each in found.figures]
    panels[0].set_yticks(range(count), names, fontsize=8)
    panels[0].invert_yaxis()  # for all: they share it
    figure.suptitle(title, fontsize=10, parse_math=False)
    with replacing(path) as file:
        figure.savefig(file, format="png")


def _bars(axes: Any, values: list[float], label: str, color: str) -> None:
    finite = [value if math.isfinite(value) else 0.0 for value in values]
    axes.barh(range(len(values)), finite, color=color, height=0.6)
    for place, value in enumerate(values):
        text = "not measured" if math.isnan(value) else f"{value:.4g}"
        axes.annotate(text, (finite[place], place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
    _finish(axes, label)


def _latency(axes: Any, found: Benchmark) -> None:
    """A bar for each size of a batch."""
    height = 0.7 / len(found.batches)
    for number, batch in enumerate(found.batches):
        shift = (number - (len(found.batches) - 1) / 2) * height
        places = found.latencies(batch)
        for place in range(len(found.figures)):
            if place not in places:
                if number == 0:
                    axes.annotate(" not measured", (0, place), va="center", fontsize=8)
                continue
            timed = batch.found.timed[places[place]]
            middle, high = timed.percentile(50) * 1e3, timed.percentile(90) * 1e3
            label = f"batch {batch.size}" if place == 0 else None
            axes.barh(place + shift, middle, height=height, color=f"C{1 + 2 * number}", label=label)
            axes.plot([middle, high], [place + shift] * 2, color="0.3", linewidth=1)
            axes.annotate(f"{middle:.4g}", (high, place + shift), xytext=(3, 0), textcoords="offset points",
                          va="center", fontsize=8)  # fmt: skip
    if len(found.batches) > 1:
        axes.legend(fontsize=7, frameon=False)
    _finish(axes, "latency, ms: median, to p90")


def _finish(axes: Any, label: str) -> None:
    axes.set_xlabel(label, fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.margins(x=0.25)
    axes.grid(visible=True, axis="x", alpha=0.3)
