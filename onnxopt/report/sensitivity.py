"""Which layers a quantized model suffers from: as a table and as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnxopt.report.accuracy import accuracy_json, decibel
from onnxopt.report.text import cell, empty_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxopt.quantization.sensitivity import Sensitivity

_ROWS = 20
"""The noisiest layers, and all that were kept, have a row; JSON has the others."""
_BAR = 20
_QUIET = 60.0
"""dB above which a layer has no bar."""


def sensitivity_table(found: Sensitivity) -> RenderableType:
    """A row for each layer, the noisiest first. At most 100 columns."""
    from rich.console import Group

    table = empty_table()
    table.add_column("quantized alone", no_wrap=True)
    table.add_column("SNR of the outputs", justify="right", no_wrap=True)
    table.add_column("noise", width=_BAR, no_wrap=True)
    table.add_column("", no_wrap=True)
    last = max((index for index, layer in enumerate(found.layers) if layer.kept), default=-1)
    shown = found.layers[: max(_ROWS, last + 1)]
    for layer in shown:
        style = "bold" if layer.kept else ""
        kept = cell(f"in {found.precision}" if layer.kept else "", "bold cyan")
        table.add_row(cell(layer.name, style, 44), cell(decibel(layer.snr), style), cell(_bar(layer.snr), "red"), kept)
    if rest := found.layers[len(shown) :]:
        table.add_row(cell(f"{len(rest)} more layers", "dim"), cell(f"from {decibel(rest[0].snr)}", "dim"))
    return Group(table, "", *(cell(line, "dim", 98) for line in _remarks(found)))


def _remarks(found: Sensitivity) -> list[str]:
    metric, whole, chosen = found.all_quantized.metric, found.all_quantized, found.chosen
    figures = f"all quantized {metric.show(whole.model)}, as chosen {metric.show(chosen.model)}"
    float_model = f"float {metric.show(whole.reference)}, " if metric.perfect is None else ""
    return [
        f"{found.kept} of {len(found.layers)} layers in {found.precision}; {metric.name}: {float_model}{figures}",
        f"layers alone on {found.alone_on}, {metric.name} on {whole.samples} calibration samples; "
        f"it may drop by {metric.show(found.max_drop)}",
    ]


def _bar(snr: float) -> str:
    if math.isnan(snr):
        return "#" * _BAR
    return "#" * round(_BAR * min(1.0, max(0.0, 1 - snr / _QUIET)))


def sensitivity_json(found: Sensitivity | None) -> dict[str, Any] | None:
    """Everything that the table has, and all layers; None where nothing was measured."""
    if found is None:
        return None
    return {
        "layers": [{"layer": layer.name, "snr": layer.snr, "kept": layer.kept} for layer in found.layers],
        "precision": found.precision,
        "kept": found.kept,
        "max_drop": found.max_drop,
        "alone_on": found.alone_on,
        "all_quantized": accuracy_json(found.all_quantized),
        "chosen": accuracy_json(found.chosen),
    }
