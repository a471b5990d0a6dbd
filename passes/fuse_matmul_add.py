"""`fuse-matmul-add`: MatMul, Transpose and Add upon matrices become one Gemm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.ir.proven import ProvenShapes
from onnxopt.linear.flattened import flatten, transposed_as_flag
from onnxopt.linear.gemm import add_as_bias, transpose_as_flag, transposes_as_gemm
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context, Pass, Preserves

_OPS = ("Gemm", "MatMul")


@dataclass(frozen=True)
class FuseMatmulAdd(Pass):
    """Make a MatMul of matrices and the Add of a constant that follows it one Gemm, and Transposes round it flags.

    Both operands have to be certain to be of rank 2, and the target has to take a Gemm. Where the data are of a higher
    rank, a Gemm of all rows needs a Reshape before it and one behind it: MatMul and Add become one where a Reshape
    stands on either side already, so that no node is added; not before an activation, and not where heads of attention
    are made in the way that engines look for, who fuse the Add. A MatMul with a weight that is transposed at every run,
    since another node reads it as it is, becomes a Gemm of all rows even where that adds nodes: the Transpose takes
    longer. A Gemm without a bias takes the Add too. A Transpose of a matrix for a Gemm alone becomes its
    `transA` or `transB`, so that no weight is read; a MatMul with such a Transpose becomes a Gemm, from opset 11 on,
    where Gemm needs no bias.

    The bias may be a vector, a row, a column or a matrix that broadcasts to the result; one that makes the result
    larger, that the caller may override or that is computed stays. Works in subgraphs, and in functions where ranks
    are certain there.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES
    needs: ClassVar[tuple[str, ...]] = ("Gemm", "MatMul")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Rewrite in every scope."""
        setting = Setting(ctx.analysis(ProvenShapes, graph), ctx.dialect)
        with ir.edit(graph) as edit:
            for scope in ir.every_graph(graph):
                for node in scope.nodes:
                    if node.op not in _OPS or not node.is_standard or edit.was_removed(node):
                        continue
                    if node.op == "MatMul" and _of_rows(edit, scope, node, ctx, setting):
                        continue
                    gemm = add_as_bias(edit, scope, node, ctx, setting)
                    if gemm is not None:
                        ctx.count("biases")
                    if gemm is None and node.is_op("MatMul") and transposes_as_gemm(edit, scope, node, ctx, setting):
                        ctx.count("transposed matrices")
                    gemm = node if gemm is None else gemm
                    if gemm.is_op("Gemm") and (saved := transpose_as_flag(edit, gemm, ctx)):
                        ctx.count("transposed matrices", saved)
        return edit.changed


def _of_rows(edit: ir.Edit, scope: ir.Graph, node: ir.Node, ctx: Context, setting: Setting) -> bool:
    """Make a MatMul of a higher rank a Gemm of all rows, where that costs no time and hides nothing."""
    if flatten(edit, scope, node, ctx, setting):
        ctx.count("biases of rows")
        return True
    if transposed_as_flag(edit, scope, node, ctx, setting):
        ctx.count("transposed weights")
        return True
    return False
