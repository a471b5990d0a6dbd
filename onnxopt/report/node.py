"""One node: what it is, what it reads and gives, who reads that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from onnxopt.report.text import shown

if TYPE_CHECKING:
    from onnxopt import ir


def node_facts(graph: ir.Graph, name: str) -> list[dict[str, Any]]:
    """Everything about the nodes of that name, in every scope; or about the ones that produce the value `name`."""
    from onnxopt import ir

    scoped = [(scope, node) for scope in ir.every_graph(graph) for node in scope.nodes]
    found = [(scope, node) for scope, node in scoped if node.name == name]
    found = found or [(scope, node) for scope, node in scoped if any(tensor.name == name for tensor in node.outputs)]
    return [
        {
            "name": node.name,
            "operator": node.op,
            "domain": node.domain or "ai.onnx",
            "in": scope.name,
            "attributes": {key: _attribute(value) for key, value in node.attrs.items()},
            "inputs": [value_facts(tensor) for tensor in node.inputs],
            "outputs": [value_facts(tensor) for tensor in node.outputs],
            "readers": [_title(reader) for tensor in node.outputs for reader in tensor.outputs],
            "doc_string": node.doc_string or "",
            "metadata": dict(node.metadata_props),
        }
        for scope, node in found
    ]


def names_of(graph: ir.Graph) -> set[str]:
    """The names that `node_facts` knows."""
    from onnxopt import ir

    nodes = list(ir.every_node(graph))
    return {node.name for node in nodes} | {tensor.name for node in nodes for tensor in node.outputs} - {""}


def value_facts(tensor: ir.Tensor) -> dict[str, Any]:
    """Name, type and shape of a value, as declared."""
    shape = None if tensor.shape is None else list(tensor.shape)
    return {"name": tensor.name, "dtype": None if tensor.dtype is None else str(tensor.dtype), "shape": shape}


def declared(value: dict[str, Any]) -> str:
    """`name: float32[N, 3, ?]` of a value's facts."""
    shape = "[...]" if value["shape"] is None else "[" + ", ".join(map(_dim, value["shape"])) + "]"
    return f"{shown(value['name'])}: {value['dtype'] or 'unknown'}{shape}"


def node_text(found: list[dict[str, Any]]) -> str:
    """The facts as lines."""
    return "\n\n".join("\n".join(_lines(facts)) for facts in found)


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    operator = facts["operator"] if facts["domain"] == "ai.onnx" else f"{facts['domain']}.{facts['operator']}"
    yield f"{operator} {shown(facts['name'])}".rstrip()
    yield f"  in         {shown(facts['in'])}"
    for key, value in facts["attributes"].items():
        yield f"  attribute  {key} = {shown(str(value), 80)}"
    for label in ("inputs", "outputs"):
        for value in facts[label]:
            yield f"  {label[:-1]:<9}  {declared(value) if value['name'] else 'omitted'}"
    for reader in facts["readers"]:
        yield f"  read by    {shown(reader)}"
    for key, value in facts["metadata"].items():
        yield f"  metadata   {shown(key)} = {shown(value, 80)}"


def _title(node: ir.Node) -> str:
    from onnxopt.pipeline.base import describe

    return describe(node)


def _dim(dim: int | str | None) -> str:
    return "?" if dim is None else shown(str(dim), 20)


def _attribute(value: Any) -> Any:
    from onnxopt import ir

    if isinstance(value, ir.Constant):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, ir.Graph):
        return f"graph {value.name} of {len(value.nodes)} nodes"
    if isinstance(value, list):
        return [_attribute(item) for item in value]
    return value if isinstance(value, (int, float, str)) else repr(value)
