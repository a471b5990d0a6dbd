"""How many of each layer's weights are zero, as facts for JSON and as a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from onnxopt.report.text import cell, empty_table
from onnxopt.report.units import amount

if TYPE_CHECKING:
    from rich.table import Table

    from onnxopt import ir

_WORTH_SHOWING = 0.05
"""The share of zeros that one layer at least has where the table is shown: a few zeros are in any model."""
_LAYERS = 20


def sparsity(graph: ir.Graph) -> dict[str, Any]:
    """Elements and zeros of all weights of layers, and by layer for those that have zeros. All weights are read."""
    from onnxopt.pruning.masks import layer_name
    from onnxopt.pruning.zeros import stored_weights

    layers: list[dict[str, Any]] = []
    elements = 0
    for weight in stored_weights(graph):
        size, zeros = math.prod(weight.constant.shape), weight.count()
        elements += size
        if zeros:
            about = {"layer": layer_name(weight.node), "operator": weight.node.op, "weight": weight.name}
            layers.append({**about, "elements": size, "zeros": zeros, "sparsity": round(zeros / size, 6)})
    zeros = sum(layer["zeros"] for layer in layers)
    return {"elements": elements, "zeros": zeros, "sparsity": round(zeros / max(elements, 1), 6), "layers": layers}


def is_worth_showing(facts: dict[str, Any]) -> bool:
    """Whether a layer has so many zeros that somebody pruned it, or might want to know."""
    return max((float(layer["sparsity"]) for layer in facts["layers"]), default=0) >= _WORTH_SHOWING


def sparsity_table(facts: dict[str, Any]) -> Table:
    """The layers with the most zeros, in the order of the model, with a bar each."""
    from rich.progress_bar import ProgressBar

    shown = sorted(facts["layers"], key=lambda layer: -layer["zeros"])[:_LAYERS]
    table = empty_table()
    for heading in ("layers with zeros", "weights", "zeros", ""):
        right = heading in ("weights", "zeros")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    for layer in facts["layers"]:
        if layer in shown:
            share = layer["sparsity"]
            bar = ProgressBar(1, share, 20, complete_style="cyan", finished_style="cyan")
            table.add_row(cell(layer["layer"], "", 44), cell(amount(layer["elements"])), cell(f"{share:.1%}"), bar)
    if rest := facts["layers"][len(shown) :]:
        table.add_row(cell(f"{len(rest)} more", "dim"), cell(""), cell(""), "")
    table.add_row(cell("all layers", "bold"), cell(amount(facts["elements"])), cell(f"{facts['sparsity']:.1%}"), "")
    return table
