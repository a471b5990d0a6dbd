"""networkx views of a graph, for what graph algorithms are needed for: ancestors, components, longest paths.

Import this module where it is used: networkx takes longer to import than most models to optimize.
"""

from __future__ import annotations

import networkx as nx

from onnxopt.errors import BadModel
from onnxopt.ir.graph import Graph
from onnxopt.ir.liveness import reads
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor


def dataflow(graph: Graph) -> nx.DiGraph:
    """The nodes of one scope, and an edge from each to every one that reads what it makes.

    An edge has the tensors as its attribute `tensors`, each once. A node with subgraphs reads what these capture; the
    nodes inside are not in the view, and in the view of a subgraph what it captures has no node. The view is a copy:
    edits of the graph do not show in it.
    """
    maker: dict[Tensor, Node] = {tensor: node for node in graph.nodes for tensor in node.outputs if tensor.name}
    edges: dict[tuple[Node, Node], list[Tensor]] = {}
    for node in graph.nodes:
        for tensor in dict.fromkeys(reads(node)):
            if tensor in maker:
                edges.setdefault((maker[tensor], node), []).append(tensor)
    view = nx.DiGraph()
    view.add_nodes_from(graph.nodes)
    view.add_edges_from((producer, reader, {"tensors": tensors}) for (producer, reader), tensors in edges.items())
    return view


def depth(graph: Graph) -> int:
    """The most nodes of one scope that have to run one after the other.

    Raises:
        BadModel: The nodes form a cycle.
    """
    view = dataflow(graph)
    try:
        return int(nx.dag_longest_path_length(view)) + 1 if view else 0
    except nx.NetworkXUnfeasible:
        raise BadModel(f"graph '{graph.name}' has a cycle") from None
