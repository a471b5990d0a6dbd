"""`merge-casts`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.ir import dtypes
from onnxopt.ir.purity import Purity
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.rules.movement.called_types import CalledTypes
from onnxopt.rules.movement.casts import KNOWN, direct
from onnxopt.rules.movement.rewriting import nodes_of, remove_unread

_CAST = frozenset({"Cast"})


@dataclass(frozen=True)
class MergeCasts(Pass):
    """Write two Casts in a row as one, or none, where the type between them loses nothing.

    int32 to int64 to int32 is nothing, and so is float16 to float to float16; int32 to int64 to float is int32 to
    float; float to float16 to float stays: it rounds. Integers may lose high bits that the last type has no room for
    either. Chains from floating-point numbers to integers stay, since out of range the result is undefined; and so do
    strings, float8 and types below a byte.

    In every scope. Declared element types count in the main graph and its subgraphs: a runtime refuses wrong ones. In a
    function only the types that Casts give do. Where others read the first Cast too, the second one reads past it only
    if all of them can.

    In a function a CastLike goes whose input has the type already in every call that the model makes: exporters write
    one for each constant of a function that takes several types.
    """

    preserves: ClassVar[Preserves] = Preserves.BITS
    needs: ClassVar[tuple[str, ...]] = ("Cast", "CastLike")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        purity = Purity(graph)
        changed = bool(graph.functions) and _drop_in_functions(graph, purity, ctx)
        casts = [node for node, opset in nodes_of(graph, _CAST, purity) if opset >= _BY_NUMBER_FROM]
        if len(casts) < 2:
            return changed
        functions = {node for function in graph.functions for node in ir.every_node(function)}
        with ir.edit(graph) as edit:
            merging = _Merging(edit, ctx, frozenset(casts), functions)
            for node in casts:
                merging.visit(node)
        return changed or edit.changed


def _drop_in_functions(graph: ir.Graph, purity: Purity, ctx: Context) -> bool:
    """Remove the CastLikes of functions that change nothing in any call."""
    types: CalledTypes | None = None
    with ir.edit(graph) as edit:
        for function in graph.functions:
            for node in function.nodes:
                if not node.is_op("CastLike") or len(node.inputs) != 2 or purity.called(node) is not None:
                    continue
                types = types or CalledTypes(graph, purity)
                kind, wanted = (types.of(tensor, function) for tensor in node.inputs)
                output, kept = node.outputs[0], node.inputs[0]
                if kind is None or wanted is None:
                    ctx.refuse("the calls of the function do not agree on a type, or it is not certain", node)
                elif kind == wanted and (reason := edit.obstacle(output, kept)) is not None:
                    ctx.refuse(reason, node)
                elif kind == wanted and ctx.allow(f"removed: '{kept.name}' is {wanted} in every call", node):
                    edit.replace_all_uses(output, kept)
                    edit.remove(node)
    return edit.changed


_BY_NUMBER_FROM = 6
"""Before, the type was given by its name."""


@dataclass(frozen=True)
class _Merging:
    edit: ir.Edit
    ctx: Context
    casts: frozenset[ir.Node]
    untyped: set[ir.Node]
    """Nodes of functions."""

    def visit(self, second: ir.Node) -> None:
        first = second.inputs[0].producer
        if first is None or first not in self.casts or self.edit.was_removed(first):
            return
        source, middle, target = self._kind(first), _to(first), _to(second)
        if middle is None or target is None or (source is not None and not {source, middle, target} <= KNOWN):
            return
        if source is None:
            self.ctx.refuse(f"the element type of '{first.inputs[0].name}' is not known", second)
            return
        verdict = direct(source, middle, target)
        if isinstance(verdict, str):
            self.ctx.refuse(verdict, second)
        elif verdict and source == target:
            self._drop(first, second)
        elif verdict:
            self._shorten(first, second)

    def _kind(self, first: ir.Node) -> int | None:
        """The element type that a Cast reads, where it is certain."""
        tensor = first.inputs[0]
        if tensor.producer in self.casts:
            return _to(tensor.producer)
        if first in self.untyped and not isinstance(tensor, ir.Constant):
            return None
        dtype = tensor.dtype
        return None if dtype is None or not dtypes.is_known(dtype) else dtypes.to_onnx(dtype)

    def _drop(self, first: ir.Node, second: ir.Node) -> None:
        kept, output = first.inputs[0], second.outputs[0]
        reason = self.edit.obstacle(output, kept)
        if reason is not None:
            self.ctx.refuse(reason, second)
        elif self.ctx.allow(f"removed: with '{first.outputs[0].name}' it gives out '{kept.name}'", second):
            self.edit.replace_all_uses(output, kept)
            self.edit.remove(second)
            remove_unread(self.edit, first)

    def _shorten(self, first: ir.Node, second: ir.Node) -> None:
        if not self._goes(first):
            self.ctx.refuse(f"'{first.outputs[0].name}' has other readers, so no node would go", second)
        elif self.ctx.allow(f"reads '{first.inputs[0].name}', past '{first.outputs[0].name}'", second):
            self.edit.replace_input(second, 0, first.inputs[0])
            remove_unread(self.edit, first)

    def _goes(self, first: ir.Node) -> bool:
        """Whether every reader of a Cast is one that can read past it."""
        output, source, middle = first.outputs[0], self._kind(first), _to(first)
        if self.edit.is_output(output) or source is None or middle is None:
            return False
        if len(output.outputs) > _READERS:
            return False
        targets = [
            _to(reader) if reader in self.casts else None for reader in output.outputs if output in reader.inputs
        ]
        return all(target is not None and direct(source, middle, target) is True for target in targets)


_READERS = 64
"""A Cast of more readers is left alone: each of them asks about all."""


def _to(cast: ir.Node) -> int | None:
    to = cast.attr("to")
    return to if isinstance(to, int) else None
