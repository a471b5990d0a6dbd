"""`strip-provenance`."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass
from onnxopt.pipeline.instruments.provenance import BY, FROM


@dataclass(frozen=True)
class StripProvenance(Pass):
    """Remove the notes on which nodes of the input model each node was made of, and by which passes.

    They are metadata of the nodes (`onnxopt.from`, `onnxopt.by`); all other metadata stay. In every scope.
    """

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        changed = False
        for node in ir.every_node(graph):
            if "_metadata_props" not in node.__dict__:
                continue
            for key in (FROM, BY):
                if key in node.metadata_props and ctx.allow(f"removed its metadata '{key}'", node):
                    del node.metadata_props[key]
                    changed = True
        return changed
