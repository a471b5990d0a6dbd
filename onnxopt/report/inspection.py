"""What a model is made of, as facts for JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from onnxopt.report.units import amount, size

if TYPE_CHECKING:
    from rich.console import Group

    from onnxopt import ir

_LARGEST = 8
_OPERATORS = 20


def inspection(graph: ir.Graph) -> dict[str, Any]:
    """Inputs, outputs, opsets, operators, costs and the largest weights."""
    from onnxopt import ir
    from onnxopt.ir.costs import costs

    weights = {constant for scope in ir.every_graph(graph) for constant in scope.constants}
    largest = sorted(weights, key=lambda constant: -constant.nbytes)[:_LARGEST]
    return {
        "name": graph.name,
        "producer": f"{graph.producer_name} {graph.producer_version}".strip(),
        "ir_version": graph.ir_version,
        "opsets": {entry.domain or "ai.onnx": entry.version for entry in graph.import_domains or ()},
        "inputs": [_value(tensor) for tensor in graph.inputs],
        "outputs": [_value(tensor) for tensor in graph.outputs],
        "functions": [f"{function.domain}::{function.name}" for function in graph.functions],
        "subgraphs": sum(1 for scope in ir.every_graph(graph)) - 1 - len(graph.functions),
        "costs": costs(graph).to_json(),
        "largest_weights": [
            {"name": weight.name, "dtype": str(weight.dtype), "shape": list(weight.shape), "bytes": weight.nbytes}
            for weight in largest
        ],
        "metadata": {entry.key: entry.value for entry in graph.model.metadata_props},
    }


def node_facts(graph: ir.Graph, name: str) -> list[dict[str, Any]]:
    """Everything about the nodes of that name, in every scope; or about the one that produces the value `name`."""
    from onnxopt import ir

    nodes = list(ir.every_node(graph))
    found = [node for node in nodes if node.name == name]
    found = found or [node for node in nodes if any(tensor.name == name for tensor in node.outputs)]
    return [
        {
            "name": node.name,
            "operator": node.op,
            "domain": node.domain or "ai.onnx",
            "attributes": {key: _attribute(value) for key, value in node.attrs.items()},
            "inputs": [_value(tensor) for tensor in node.inputs],
            "outputs": [_value(tensor) for tensor in node.outputs],
            "readers": [f"{reader.op} {reader.name}".strip() for tensor in node.outputs for reader in tensor.outputs],
            "metadata": dict(node.metadata_props),
        }
        for node in found
    ]


def _attribute(value: Any) -> Any:
    from onnxopt import ir

    if isinstance(value, ir.Constant):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, ir.Graph):
        return f"graph {value.name} of {len(value.nodes)} nodes"
    return value if isinstance(value, (int, float, str, list)) else repr(value)


def _value(tensor: Any) -> dict[str, Any]:
    shape = None if tensor.shape is None else list(tensor.shape)
    return {"name": tensor.name, "dtype": None if tensor.dtype is None else str(tensor.dtype), "shape": shape}


def inspection_view(facts: dict[str, Any]) -> Group:
    """The facts as tables, 100 columns wide."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    costs = facts["costs"]
    opsets = ", ".join(f"{domain} {version}" for domain, version in facts["opsets"].items())
    head = Table.grid(padding=(0, 2))
    rows = {
        "graph": facts["name"],
        "made by": facts["producer"] or "not said",
        "versions": f"IR {facts['ir_version']}, opset {opsets}",
        "inputs": "\n".join(_declared(facts["inputs"])),
        "outputs": "\n".join(_declared(facts["outputs"])),
        "functions": ", ".join(facts["functions"]) or "none",
        "subgraphs": str(facts["subgraphs"]),
        "nodes": str(costs["nodes"]),
        "parameters": f"{amount(costs['parameters'])} in {size(costs['weight_bytes'])}",
        "MACs": amount(costs["macs"]),
        "peak activations": size(costs["peak_activation_bytes"]),
        **{key: value for key, value in facts["metadata"].items() if len(value) < 80},
    }
    for label, text in rows.items():
        head.add_row(f"[bold]{escape(label)}[/bold]", escape(text))
    operators = Table("operator", "nodes", "MACs", title="operators", title_justify="left")
    for operator, count in sorted(costs["operators"].items(), key=lambda item: -item[1])[:_OPERATORS]:
        macs = costs["macs_by_operator"].get(operator)
        operators.add_row(operator, str(count), "" if macs is None else amount(macs))
    weights = Table("weight", "dtype", "shape", "size", title="largest weights", title_justify="left")
    for weight in facts["largest_weights"]:
        weights.add_row(escape(weight["name"]), weight["dtype"], escape(str(weight["shape"])), size(weight["bytes"]))
    return Group(head, "", operators, "", weights)


def _declared(values: list[dict[str, Any]]) -> Iterator[str]:
    for value in values:
        shape = "[...]" if value["shape"] is None else "[" + ", ".join(map(str, value["shape"])) + "]"
        yield f"{value['name']}: {value['dtype'] or 'unknown'}{shape.replace('None', '?')}"
