"""What the page tells of one step beside its nodes: costs, and what changed as text."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.ir.costs import Costs

MOST_NODES = 10_000
"""Of larger graphs no text is kept, and no shapes are inferred for the costs."""
_LINES = 2_000
_COLUMNS = 400
"""Of the text of one step; what is longer is cut, and says so."""


def cost_figures(found: Costs) -> dict[str, Any]:
    """The figures of the timeline, and nodes by operator."""
    return {
        "nodes": found.nodes,
        "parameters": found.parameters,
        "weight_bytes": found.weight_bytes,
        "macs": found.macs,
        "peak_activation_bytes": found.peak_activation_bytes,
        "operators": found.operators,
        "assumptions": found.assumptions,
    }


def is_large(graph: ir.Graph) -> bool:
    """Whether it is shown by blocks, its shapes as declared and without text."""
    from onnxopt import ir

    return sum(1 for _ in islice(ir.every_node(graph), MOST_NODES + 1)) > MOST_NODES


def text_of(graph: ir.Graph) -> str | None:
    """The text form; None of a graph that is too large for it."""
    from onnxopt import ir

    return None if is_large(graph) else ir.to_text(graph)


def text_diff(before: str | None, after: str | None) -> list[str]:
    """The unified diff, cut where it is long."""
    from onnxopt.ir.diff import unified_texts

    if before is None or after is None:
        return [f"@@ not shown of graphs of more than {MOST_NODES} nodes"]
    found = list(islice(unified_texts(before, after), _LINES + 1))
    lines = [line if len(line) <= _COLUMNS else f"{line[:_COLUMNS]}… ({len(line)} characters)" for line in found]
    return lines if len(found) <= _LINES else [*lines[:_LINES], f"@@ only the first {_LINES} lines are shown"]
