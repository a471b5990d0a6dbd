"""`eliminate-dead-nodes`."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt import ir
from onnxopt.ir.sweep import drop_functions, omit_outputs, sweep
from onnxopt.ir.unread import drop_unread
from onnxopt.pipeline.base import Context, Pass


@dataclass(frozen=True)
class EliminateDeadNodes(Pass):
    """Remove what no output needs: nodes, optional outputs, initializers, local functions.

    In every scope: the main graph, subgraphs and functions. Inputs and outputs of the model stay, and so do inputs with
    a default value, opset imports, and operators of domains that are not known here: those may do more than compute
    their outputs. An output is omitted where it is a node's last one and the operator's schema calls it optional.
    """

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        annotations = _annotations(graph)
        trained = bool(graph.model.training_info)
        functions = [] if trained else _drop_functions(graph, ctx)  # first: nobody has to sweep them
        nodes = sweep(graph, allow=lambda node: ctx.allow("removed: no output needs it", node))
        outputs = omit_outputs(
            graph, lambda node, output: ctx.allow(f"omitted the unread output '{output.name}'", node)
        )
        if trained:
            ctx.refuse("initializers and functions stay: the model's training information may name them", graph.name)
            constants = []
        else:
            functions += _drop_functions(graph, ctx)
            constants = drop_unread(graph, ctx.allow)
        for what, many in (
            ("nodes", nodes),
            ("outputs", outputs),
            ("initializers", constants),
            ("functions", functions),
        ):
            if many:
                ctx.count(what, len(many))
        return bool(functions or nodes or outputs or constants or annotations != _annotations(graph))


def _drop_functions(graph: ir.Graph, ctx: Context) -> list[ir.Function]:
    return drop_functions(graph, lambda function: ctx.allow("removed the function, which nobody calls", function.name))


def _annotations(graph: ir.Graph) -> int:
    return sum(len(scope.quantization_annotation) for scope in ir.every_graph(graph))
