"""`merge-transposes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.ir.proven import ProvenShapes
from onnxopt.layout.merge import merge
from onnxopt.layout.scopes import each_scope
from onnxopt.pipeline.base import Context, Pass


@dataclass(frozen=True)
class MergeTransposes(Pass):
    """Merge Transposes that follow each other.

    One that undoes those before it is cut out; one that follows another that only Transposes read takes its place; of
    two equal ones of one tensor, one is left. Nothing is done that leaves as many nodes. `sink-transposes` does this
    too, before it moves what is left.

    In every scope; Transposes of different scopes are not merged. A Transpose without `perm` reverses the axes: how
    many these are has to be certain. One that names a graph output becomes an Identity where the tensor itself cannot
    take the name.
    """

    needs: ClassVar[tuple[str, ...]] = ("Transpose",)

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        with ir.edit(graph) as edit:
            for around, _ in each_scope(graph, edit, ctx.analysis(ProvenShapes, graph)):
                merge(around, ctx)
        return edit.changed
