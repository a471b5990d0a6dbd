"""`fold-shapes`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxopt import ir
from onnxopt.folding.candidates import free_initializers, takes_initializers
from onnxopt.ir.proven import ProvenShapes, ProvenShapesNonempty
from onnxopt.ir.proven.vectors import VECTOR_RULES
from onnxopt.ir.purity import Purity
from onnxopt.ir.values import Array
from onnxopt.pipeline.base import Context, Pass
from onnxopt.rules.shapes.sources import Elements, Sources, cone
from onnxopt.rules.shapes.targets import expand_target, reshape_target, slice_bounds

_INT64 = np.dtype(np.int64)
_INTEGER_CONSTANTS = 9
"""The opset since which Constant makes them."""
_ROUNDS = 8
"""Each but the last makes the model smaller."""


@dataclass(frozen=True)
class FoldShapes(Pass):
    """Shorten what computes shapes, where dimensions are symbolic too.

    An integer vector whose elements all turn out to be numbers becomes a constant. The target of a Reshape becomes one
    with 0 where it copies the dimension at that place and at most one -1; that of an Expand, with 1 where it keeps
    what is there; the bounds of a Slice, with counts from the end. What is computed twice, from whatever tensors, is
    computed once; and Gather, Unsqueeze, Concat of shapes become a Shape of just these dimensions (opset 15) where
    that takes fewer nodes. No rewrite adds nodes.

    Only what follows from the model's inputs and operators counts: value infos may be stale. One name of a dimension
    stands for one number. In every scope; of what goes into bodies and functions nothing is certain. Refused: a
    target of which two dimensions are neither numbers nor copied; -1 where another dimension may be 0.

    The nodes that nobody reads any more go, as far as they compute shapes; what they read is left to
    `eliminate-dead-nodes`.
    """

    empty_inputs: bool = False
    """Keep the target of a Reshape right also for inputs that have a dimension of 0. Without, a model that is given
    such an input may fail there, or give an empty output of another shape; everything else is right of it too, and what
    data decide (NonZero) may be 0 in any case."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        changed = False
        for _ in range(_ROUNDS):
            edited, more = self._round(graph, ctx)
            changed |= edited
            if not more:  # a vector that was shortened may make others shorter
                break
            ctx.forget()
        return changed

    def _round(self, graph: ir.Graph, ctx: Context) -> tuple[bool, bool]:
        """Go over the model once; return whether anything changed, and whether that may make more possible."""
        shapes = ctx.analysis(ProvenShapes if self.empty_inputs else ProvenShapesNonempty, graph)
        more = False
        with ir.edit(graph) as edit:
            folding = _Folding(graph, shapes, edit, ctx)
            scopes = list(ir.every_graph(graph))
            for scope in scopes:
                folding.targets(scope)
            for scope in reversed(scopes):
                folding.numbers(scope)
            for scope in scopes:
                folding.share(scope)
                more |= folding.shorten(scope)
        return edit.changed, more


class _Folding:
    """One run over a model. The facts are of the model as it was, and hold on: no rewrite changes a value."""

    def __init__(self, graph: ir.Graph, shapes: ProvenShapes, edit: ir.Edit, ctx: Context) -> None:
        self.graph, self.shapes, self.edit, self.ctx = graph, shapes, edit, ctx
        self.called = Purity(graph).called
        self._followed_in: dict[ir.Graph, list[tuple[int, ir.Node]]] = {}
        self.in_functions = {
            scope for function in graph.functions for scope in (function, *function.subgraphs(recursive=True))
        }

    def targets(self, scope: ir.Graph) -> None:
        """Constants for what Reshape, Expand and Slice are told."""
        for node in scope.nodes:
            if node.op in ("Reshape", "Expand", "Slice") and self._is_removable(node):
                for index in (1, 2) if node.op == "Slice" else (1,):
                    if index < len(node.inputs) and self._is_computed(node.inputs[index]):
                        self._target(node, index, scope)

    def _is_computed(self, tensor: ir.Tensor) -> bool:
        """Whether a tensor is no constant, nor certain to become one."""
        if isinstance(tensor, ir.Constant) or tensor.producer is None or tensor.producer.is_op("Constant"):
            return False
        items = self.shapes.elements(tensor)
        return items is None or not all(isinstance(item, int) for item in items)

    def _target(self, node: ir.Node, index: int, scope: ir.Graph) -> None:
        match node.op:
            case "Reshape":
                found = reshape_target(node, self.shapes)
            case "Expand":
                found = expand_target(node, self.shapes)
            case _:
                found = slice_bounds(node, index, self.shapes)
        old = node.inputs[index]
        if found is None:
            return
        if isinstance(found, list) and not self._has_room(old, scope):
            found = "the constant would be one node more"
        if isinstance(found, str):
            self.ctx.refuse(found, node)
        elif self.ctx.allow(f"{('', 'shape' if node.op != 'Slice' else 'starts', 'ends')[index]} made {found}", node):
            dtype = self.shapes.element_type(old) or np.dtype(np.int64)
            self.edit.replace_input(node, index, self._constant(np.array(found, dtype), old.name, node, scope))
            if node.op == "Reshape" and node.attr("allowzero", 0):
                del node.attrs["allowzero"]
            self.ctx.count("targets made constants")
            self._prune(old)

    def _has_room(self, old: ir.Tensor, scope: ir.Graph) -> bool:
        """Whether a constant in place of `old` leaves the model with no more nodes, for one reader of it."""
        if self._has_initializers(scope):
            return True
        return self.edit.uses(old) == 1 and not self.edit.is_output(old) and self._is_removable(old.producer)

    def _has_initializers(self, scope: ir.Graph) -> bool:
        """Whether a constant in a scope is no node."""
        return takes_initializers(scope, self.graph) and scope not in self.in_functions

    def _constant(self, value: Array, name: str, anchor: ir.Node, scope: ir.Graph) -> ir.Tensor:
        """A new constant, for `anchor` to read."""
        constant = ir.Constant(self.edit.fresh(name), value)
        if takes_initializers(scope, self.graph) or scope.opset < _INTEGER_CONSTANTS:
            if not free_initializers(self.graph):
                self.graph.constants.append(constant)
                self.graph.listed.setdefault(constant.name)
            return constant
        made = ir.Variable(constant.name, constant.dtype, list(constant.shape))
        constant.name = ""
        self.edit.insert_before(anchor, ir.Node("Constant", self.edit.fresh(name), {"value": constant}, [], [made]))
        return made

    def _followed(self, scope: ir.Graph) -> list[tuple[int, ir.Node]]:
        """The nodes of whose output elements something is known, with their places."""
        found = self._followed_in.get(scope)
        if found is None:
            elements = self.shapes.elements
            found = self._followed_in[scope] = [
                (place, node)
                for place, node in enumerate(scope.nodes)
                if node.op in VECTOR_RULES and node.op != "Constant" and any(map(elements, node.outputs))
            ]
        return found

    def numbers(self, scope: ir.Graph) -> None:
        """Constants for vectors of numbers; from the end on, so that what leads to them alone goes with them."""
        for _, node in reversed(self._followed(scope)):
            if self.edit.was_removed(node):
                continue
            for output in list(node.outputs):
                items = self.shapes.elements(output)
                if items and all(isinstance(item, int) for item in items) and self.edit.is_used(output):
                    self._number(node, output, scope)

    def _number(self, node: ir.Node, output: ir.Variable, scope: ir.Graph) -> None:
        alone = len(node.outputs) == 1
        given_out = self.edit.is_output(output)
        if not self._is_removable(node) or not (alone or (self._has_initializers(scope) and not given_out)):
            return
        if given_out and scope.opset < _INTEGER_CONSTANTS:
            self.ctx.refuse(f"'{output.name}' is given out, and opset {scope.opset} has no Constant of integers", node)
            return
        if not self.ctx.allow(f"'{output.name}' made a constant", node):
            return
        scalar = self.shapes.dims(output) == ()
        value = np.array(self.shapes.elements(output), self.shapes.element_type(output)).reshape(() if scalar else -1)
        self.ctx.count("vectors made constants")
        if self.edit.is_output(output):
            sources = list(node.inputs)
            node.outputs.clear()
            attrs = {"value": ir.Constant("", value)}
            self.edit.insert_before(node, ir.Node("Constant", node.name, attrs, outputs=[output]))
            self.edit.remove(node)
            for source in sources:
                self._prune(source)
            return
        self.edit.replace_all_uses(output, self._constant(value, output.name, node, scope))
        self._prune(output)

    def share(self, scope: ir.Graph) -> None:
        """Let equal vectors be one, though they are computed from different tensors."""
        first: dict[object, ir.Tensor] = {}
        for _, node in self._followed(scope):
            for output in node.outputs:
                items = self._symbolic(output)
                if items is None:
                    continue
                key = (items, len(self.shapes.dims(output) or ()), self.shapes.element_type(output))
                known = first.setdefault(key, output)
                if known.producer is None:  # it went meanwhile, with what read it
                    first[key] = known = output
                if known is output or self.edit.obstacle(output, known):
                    continue
                if self.ctx.allow(f"'{output.name}' has the elements of '{known.name}'", node):
                    self.edit.replace_all_uses(output, known)
                    self.ctx.count("equal vectors shared")
                    self._prune(output)

    def _symbolic(self, output: ir.Tensor) -> Elements | None:
        """The elements of a vector that is used, where all are known and not all of them are numbers."""
        items = self.shapes.elements(output)
        if not items or None in items or all(isinstance(item, int) for item in items):
            return None
        return items if self.edit.is_used(output) else None  # type: ignore[return-value]

    def shorten(self, scope: ir.Graph) -> bool:
        """Compute vectors with fewer nodes, those first that are made of others; return whether any was."""
        sources = Sources(scope, self.shapes, self._has_initializers(scope))
        for tensor in self.graph.inputs:
            sources.shaped(tensor, -1)
        vectors: list[tuple[int, ir.Node, Elements]] = []
        for place, node in self._followed(scope):
            if len(node.outputs) > 1 or not node.outputs or not self._is_removable(node):
                continue
            items = self._symbolic(node.outputs[0])
            if items is None or self.shapes.element_type(node.outputs[0]) != _INT64:
                continue
            vectors.append((place, node, items))
            if node.op == "Shape":
                sources.shaped(node.inputs[0], place)
            if self.shapes.dims(node.outputs[0]) != ():
                sources.vector(node.outputs[0], items, place)
        changed = False
        for place, node, items in reversed(vectors):
            if not self.edit.was_removed(node):
                changed |= self._shorten(node, items, sources, place)
        return changed

    def _shorten(self, node: ir.Node, items: Elements, sources: Sources, place: int) -> bool:
        output = node.outputs[0]
        if self.shapes.dims(output) == ():
            recipe = sources.scalar(items[0], place)
        else:
            recipe = sources.recipe(items, place)
        if recipe is None or self.edit.is_output(output):
            return False
        gone = cone(output, recipe.reads, self.edit, self._is_removable)
        if recipe.nodes >= len(gone):
            return False
        if not self.ctx.allow(f"'{output.name}' computed by {recipe.nodes} nodes instead of {len(gone)}", node):
            return False
        nodes, result = recipe.make(node, output, self.edit.fresh)
        self.edit.insert_before(node, *nodes)
        self.edit.replace_all_uses(output, result)
        self.ctx.count("vectors shortened")
        self._prune(output)
        return True

    def _is_removable(self, node: ir.Node | None) -> bool:
        """Whether a node is one of the standard operators that vectors of dimensions are computed with."""
        return node is not None and node.op in VECTOR_RULES and node.is_standard and self.called(node) is None

    def _prune(self, tensor: ir.Tensor) -> None:
        """Remove what nobody reads any more."""
        pending = [tensor.producer]
        while pending:
            node = pending.pop()
            if not self._is_removable(node) or self.edit.was_removed(node):
                continue
            if not any(output.name and self.edit.is_used(output) for output in node.outputs):
                pending += [source.producer for source in node.inputs]
                self.edit.remove(node)
