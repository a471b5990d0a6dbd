"""Which passes made the nodes of a model, as their metadata tell it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from onnxopt.pipeline.instruments.provenance import BY
from onnxopt.report.text import cell, empty_table

if TYPE_CHECKING:
    from rich.table import Table

    from onnxopt import ir


def origins(graph: ir.Graph) -> dict[str, Any]:
    """How many nodes each pass made or changed, and how many no pass did.

    A node that several passes changed counts for each.
    """
    from onnxopt import ir

    passes: Counter[str] = Counter()
    untouched = 0
    for node in ir.every_node(graph):
        told = node.metadata_props.get(BY, "").splitlines() if "_metadata_props" in node.__dict__ else []
        passes.update(list(dict.fromkeys(line.partition(": ")[0] for line in told)))
        untouched += not told
    return {"passes": dict(passes), "untouched": untouched}


def origins_table(found: dict[str, Any]) -> Table:
    """The passes, and the nodes that each made or changed."""
    table = empty_table()
    table.add_column("made or changed by", no_wrap=True)
    table.add_column("nodes", justify="right", no_wrap=True)
    for name, count in found["passes"].items():
        table.add_row(cell(name, "", 44), cell(count))
    table.add_row(cell("no pass", "dim"), cell(found["untouched"], "dim"))
    return table
