"""A comparison of two models as a table and as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnxopt.report.figures import difference_json
from onnxopt.report.text import cell, empty_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxopt.runtime.compare import Difference
    from onnxopt.runtime.comparison import Comparison

_NUMBERS = ("largest difference", "of its range", "SNR")


def comparison_table(comparison: Comparison) -> RenderableType:
    """A row for each output: the worst over all samples. At most 100 columns."""
    from rich.console import Group

    table = empty_table()
    for heading in ("output", *_NUMBERS, "verdict"):
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left", overflow="fold")
    for found in comparison.differences:
        style = "green" if found.ok else "bold red"
        table.add_row(cell(found.output, "", 40), *map(cell, _figures(found)), cell(_verdict(found), style, 100))
    return Group(table, "", cell(comparison.inputs, "dim", 96))


def _figures(found: Difference) -> tuple[str, str, str]:
    if found.bit_equal or found.where is None:
        return "", "", ""
    signal = f"{found.snr:.1f} dB" if math.isfinite(found.snr) else ""
    return f"{found.largest_absolute:.3g}", f"{found.largest_relative:.2g}", signal


def _verdict(found: Difference) -> str:
    return "bit for bit" if found.bit_equal else "ok" if found.ok else found.reason


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Everything that the table has."""
    return {
        "equal": all(found.ok for found in comparison.differences),
        "samples": comparison.samples,
        "inputs": comparison.inputs,
        "outputs": [difference_json(found) for found in comparison.differences],
        "notes": comparison.notes,
    }
