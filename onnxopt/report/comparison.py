"""A comparison of two models as a table and as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnxopt.report.summary import difference_json

if TYPE_CHECKING:
    from rich.table import Table

    from onnxopt.runtime.comparison import Comparison


def comparison_table(comparison: Comparison) -> Table:
    """A row for each output: the worst over all samples."""
    from rich.table import Table

    table = Table(title=f"{comparison.samples} sets of inputs", title_justify="left")
    for heading in ("output", "largest difference", "of its range", "SNR", ""):
        table.add_column(heading, justify="left" if heading in ("output", "") else "right")
    for found in comparison.differences:
        signal = "" if found.bit_equal or not math.isfinite(found.snr) else f"{found.snr:.1f} dB"
        verdict = "bit for bit" if found.bit_equal else "ok" if found.ok else f"[red]{found.reason}[/red]"
        table.add_row(found.output, f"{found.largest_absolute:.3g}", f"{found.largest_relative:.2g}", signal, verdict)
    return table


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Everything that the table has."""
    return {
        "samples": comparison.samples,
        "outputs": [difference_json(found) for found in comparison.differences],
        "notes": comparison.notes,
    }
