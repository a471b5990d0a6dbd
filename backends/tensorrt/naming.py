"""Names for all nodes: TensorRT tells of nodes, and its layers of where they come from, by name alone."""

from __future__ import annotations

from onnxopt import ir


def with_names(graph: ir.Graph) -> ir.Graph:
    """The same graph, in which every node of every scope has a name that no other has."""
    nodes = list(ir.every_node(graph))
    taken = {node.name for node in nodes}
    seen: set[str] = set()
    for index, node in enumerate(nodes):
        if not node.name or node.name in seen:
            node.name = _free(f"{node.name or node.op}_{index}", taken)
            taken.add(node.name)
        seen.add(node.name)
    return graph


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
