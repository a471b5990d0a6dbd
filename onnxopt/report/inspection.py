"""What a model is made of, as facts for JSON and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from onnxopt.report.encodings import encodings, encodings_table
from onnxopt.report.node import declared, value_facts
from onnxopt.report.origins import origins, origins_table
from onnxopt.report.sparsity import is_worth_showing, sparsity, sparsity_table
from onnxopt.report.text import cell, empty_table, shown
from onnxopt.report.units import amount, size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from onnxopt import ir

_LARGEST = 8
_OPERATORS = 20
_VALUES = 12
"""So many inputs, outputs, functions and entries of metadata are shown; JSON has all."""


def inspection(graph: ir.Graph, dims: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Inputs, outputs, opsets, operators, costs, the largest weights, zeros of layers, encodings, who made nodes.

    Raises:
        BadOption: `dims` names a dimension that the model does not have.
    """
    from onnxopt import ir
    from onnxopt.ir.costs import costs
    from onnxopt.ir.views import depth

    weights = {constant for scope in ir.every_graph(graph) for constant in scope.constants}
    largest = sorted(weights, key=lambda constant: (-constant.nbytes, constant.name))[:_LARGEST]
    return {
        "name": graph.name,
        "producer": f"{graph.producer_name} {graph.producer_version}".strip(),
        "ir_version": graph.ir_version,
        "opsets": {entry.domain or "ai.onnx": entry.version for entry in graph.import_domains or ()},
        "inputs": [value_facts(tensor) for tensor in graph.inputs],
        "outputs": [value_facts(tensor) for tensor in graph.outputs],
        "functions": [f"{function.domain}::{function.name}" for function in graph.functions],
        "subgraphs": sum(1 for _ in ir.every_graph(graph)) - 1 - len(graph.functions),
        "depth": depth(graph),
        "costs": costs(graph, dims).to_json(),
        "largest_weights": [
            {"name": weight.name, "dtype": str(weight.dtype), "shape": list(weight.shape), "bytes": weight.nbytes}
            for weight in largest
        ],
        "sparsity": sparsity(graph),
        "quantization": encodings(graph),
        "provenance": origins(graph),
        "metadata": {entry.key: entry.value for entry in graph.model.metadata_props},
        "doc_string": graph.model.doc_string or graph.doc_string,
    }


def inspection_view(model: str, facts: dict[str, Any]) -> RenderableType:
    """The facts as a panel of at most 100 columns."""
    from rich.console import Group
    from rich.panel import Panel

    parts: list[RenderableType] = [_head(facts), "", _operators(facts["costs"])]
    if facts["largest_weights"]:
        parts += ["", _weights(facts["largest_weights"])]
    if facts["quantization"]:
        parts += ["", encodings_table(facts["quantization"])]
    if facts["provenance"]["passes"]:
        parts += ["", origins_table(facts["provenance"])]
    if is_worth_showing(facts["sparsity"]):
        parts += ["", sparsity_table(facts["sparsity"])]
    return Panel(Group(*parts), title=cell(model, "bold", 80), title_align="left", expand=False, padding=(1, 2))


def _head(facts: dict[str, Any]) -> Table:
    from rich.table import Table

    costs = facts["costs"]
    opsets = ", ".join(f"{domain} {version}" for domain, version in facts["opsets"].items())
    rows = {
        "graph": [facts["name"]],
        "made by": [facts["producer"] or "not said"],
        "versions": [f"IR {facts['ir_version']}, opset {opsets}"],
        "inputs": [declared(value) for value in facts["inputs"]],
        "outputs": [declared(value) for value in facts["outputs"]],
        "functions": facts["functions"],
        "subgraphs": [str(facts["subgraphs"])] if facts["subgraphs"] else [],
        "nodes": [f"{costs['nodes']}, {facts['depth']} of them one after the other"],
        "parameters": [f"{amount(costs['parameters'])} in {size(costs['weight_bytes'])}"],
        "MACs": [amount(costs["macs"]) + _uncounted(costs["uncounted"])],
        "peak activations": [size(costs["peak_activation_bytes"])],
        "figures for": costs["assumptions"],
        "metadata": [f"{key} = {value}" for key, value in facts["metadata"].items()],
    }
    table = Table.grid(padding=(0, 2))
    for label, lines in rows.items():
        more = [f"and {len(lines) - _VALUES} more"] if len(lines) > _VALUES else []
        for number, line in enumerate([*lines[:_VALUES], *more]):
            table.add_row(cell("" if number else label, "bold"), cell(line, "", 72))
    return table


def _uncounted(uncounted: dict[str, int]) -> str:
    return f", without {', '.join(f'{count} {op}' for op, count in uncounted.items())}" if uncounted else ""


def _operators(costs: dict[str, Any]) -> Table:
    from rich.progress_bar import ProgressBar

    table = _table(("operator", "nodes", "MACs", ""))
    largest = max(costs["macs_by_operator"].values(), default=1)
    listed = sorted(costs["operators"].items(), key=lambda item: (-item[1], item[0]))
    for operator, count in listed[:_OPERATORS]:
        macs = costs["macs_by_operator"].get(operator)
        bar = "" if macs is None else ProgressBar(largest, macs, 20, complete_style="cyan", finished_style="cyan")
        table.add_row(cell(operator), cell(count), cell("" if macs is None else amount(macs)), bar)
    if rest := listed[_OPERATORS:]:
        table.add_row(cell(f"{len(rest)} more", "dim"), cell(sum(count for _, count in rest), "dim"))
    return table


def _weights(largest: list[dict[str, Any]]) -> Table:
    table = _table(("largest weights", "size", "type"))
    for weight in largest:
        text = f"{weight['dtype']}{weight['shape']}"
        table.add_row(cell(weight["name"], "", 44), cell(size(weight["bytes"])), cell(shown(text, 30)))
    return table


def _table(headings: tuple[str, ...]) -> Table:
    table = empty_table()
    for heading in headings:
        right = heading in ("nodes", "MACs", "size")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    return table
