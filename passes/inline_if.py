"""`inline-if`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.ir.edit import detach
from onnxopt.ir.known import known_value
from onnxopt.ir.liveness import reads
from onnxopt.ir.proven import ProvenShapes, demanded_rank, possible_ranks
from onnxopt.ir.purity import Purity
from onnxopt.ir.sameness import Sameness
from onnxopt.ir.splice import Binding, Names, given_out, move, own_names
from onnxopt.pipeline.base import Context, Pass, describe

_ELEMENTWISE = ("Abs", "Add", "Cast", "CastLike", "Ceil", "Div", "Floor", "Identity", "Max", "Min", "Mul", "Neg", "Sub")
_FOLLOWED = 64
"""Nodes behind an If up to which a Range is looked for."""
Facts = Mapping[ir.Tensor, bool]
"""Conditions of which the value is known where a node stands."""


@dataclass(frozen=True)
class InlineIf(Pass):
    """Put the nodes of a branch in the place of an If that always takes it.

    That is: the condition is a constant; or it is, or is the Not of, the condition of an If around it; or both branches
    compute the same; or what the other branch gives has a rank with which the run fails, since a node beside the If
    takes another one only (exporters that do not know a rank write both cases out; not in functions, whose callers may
    leave outputs unread). Conditions that have to be computed are for `fold-constants`. In every scope, functions
    included; an If in the branch taken comes next.

    The outputs of the If keep their names; values of the branch keep theirs unless something else in the model has
    them. Where a branch gives out a value from around it, an initializer, or one value twice, and that is an output of
    a graph, an Identity makes it; refused where an opset has none for a sequence or an optional. A condition that is
    the default of an input is not known: the caller may give another. Refused too where a Range reads what is not
    certain to be a scalar: the If hides from onnx's checker that it is none.
    """

    needs: ClassVar[tuple[str, ...]] = ("If",)

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        purity = Purity(graph)
        changed = False
        for root in (graph, *graph.functions):
            if any(node.op == "If" for scope in _scopes(root) for node in scope.nodes):
                work = _Root(root, graph, purity, ctx)
                work.scope(root, {})
                detach(work.dead)
                changed |= bool(work.dead)
        return changed


def _scopes(root: ir.Graph) -> list[ir.Graph]:
    return [root, *root.subgraphs(recursive=True)]


class _Root:
    """The main graph or a function, with its subgraphs."""

    def __init__(self, root: ir.Graph, main: ir.Graph, purity: Purity, ctx: Context) -> None:
        self.root, self.main, self.purity, self.ctx = root, main, purity, ctx
        self.dead: list[ir.Node] = []
        """The Ifs that are gone, with the branches not taken."""
        self._free: set[ir.Node] = set()
        """Ifs that could not be inlined though only one branch can be taken."""
        self._names: Names | None = None
        self.given: Counter[ir.Tensor] = given_out(root)

    @property
    def names(self) -> Names:
        if self._names is None:
            self._names = Names(self.root)
        return self._names

    def scope(self, scope: ir.Graph, facts: Facts) -> None:
        """Inline the Ifs of one scope, and of those in its nodes."""
        self._inline_known(scope, facts)
        while any(node.op == "If" for node in scope.nodes) and self._inline_forced(scope):
            self._inline_known(scope, facts)

    def _inline_forced(self, scope: ir.Graph) -> bool:
        """Inline the Ifs of a scope of which one branch makes the run fail; whether there are any.

        The last comes first: one that goes shows what the node behind it demands of the one before it.
        """
        if isinstance(self.root, ir.Function):
            return False
        needed: set[ir.Node] | None = None
        taken: dict[ir.Node, list[ir.Node]] = {}
        for node in reversed(scope.nodes):
            if not _is_whole_if(node, self.purity) or node in self._free:
                continue
            needed = _needed(scope) if needed is None else needed
            forced = self._forced(node, needed)
            inlined = None if forced is None else self._take(node, *forced, scope)
            if inlined is not None:
                taken[node] = inlined
            elif forced is not None:
                self._free.add(node)
        if taken:
            scope.nodes[:] = [one for node in scope.nodes for one in taken.get(node, (node,))]
        return bool(taken)

    def _forced(self, node: ir.Node, nodes: set[ir.Node]) -> tuple[str, str] | None:
        """The branch that a run which does not fail takes, and why."""
        for index, output in enumerate(node.outputs):
            shapes = self.ctx.analysis(ProvenShapes, self.main)
            demand = demanded_rank(output, nodes, shapes) if node in nodes else None
            if demand is None:
                continue
            fails = {}
            for name in ("then_branch", "else_branch"):
                ranks = possible_ranks(node.attrs[name].outputs[index], shapes)
                fails[name] = ranks is not None and demand.rank not in ranks
            for name, other in (("then_branch", "else_branch"), ("else_branch", "then_branch")):
                if fails[other] and not fails[name]:
                    why = f"{describe(demand.by)} takes no value of the rank that its {other.replace('_', ' ')} gives"
                    return name, why
        return None

    def _inline_known(self, scope: ir.Graph, facts: Facts) -> None:
        count = len(self.dead)
        kept: list[ir.Node] = []
        pending = scope.nodes[::-1]
        while pending:
            node = pending.pop()
            inlined = self._inline(node, scope, facts) if _is_whole_if(node, self.purity) else None
            if inlined is not None:
                pending += reversed(inlined)
                continue
            kept.append(node)
            for branch, inside in _inner_scopes(node, facts):
                self.scope(branch, inside)
            if _is_whole_if(node, self.purity) and _branches_are_equal(node):
                inlined = self._take(node, "then_branch", "both branches compute the same", scope)
                if inlined is not None:
                    kept[-1:] = inlined
        if len(self.dead) > count:
            scope.nodes[:] = kept

    def _inline(self, node: ir.Node, scope: ir.Graph, facts: Facts) -> list[ir.Node] | None:
        condition = node.inputs[0]
        value = _known(condition, facts)
        if value is None:
            if isinstance(condition, ir.Variable) and condition.default is not None:
                self.ctx.refuse("the condition is an input with a default, which the caller may override", node)
            return None
        return self._take(node, "then_branch" if value else "else_branch", f"the condition is always {value}", scope)

    def _take(self, node: ir.Node, name: str, why: str, scope: ir.Graph) -> list[ir.Node] | None:
        branch: ir.Graph = node.attrs[name]
        inner = set(branch.nodes)
        for tensor in branch.outputs:
            self.given[tensor] -= 1
        binding = Binding(node.outputs, branch.outputs, self.given)
        reason = binding.obstacle(inner, scope.opset) or self._exposed(node, branch)
        if reason is not None:
            self.ctx.refuse(f"{why}, but {reason}", node)
        if reason is not None or not self.ctx.allow(f"replaced by its {name.replace('_', ' ')}: {why}", node):
            self.given.update(branch.outputs)
            return None
        other: ir.Graph = node.attrs["else_branch" if name == "then_branch" else "then_branch"]
        self.names.drop(own_names(_scopes(other)))
        self.given.subtract(tensor for subgraph in _scopes(other) for tensor in subgraph.outputs)
        del node.attrs[name]
        nodes = move(branch, scope, self.names)
        nodes += binding.apply(inner, scope, self.names)
        self.names.drop([node.name])
        list.clear(node.outputs)
        self.dead.append(node)
        return nodes

    def _exposed(self, node: ir.Node, branch: ir.Graph) -> str | None:
        """Why the model would fail the checker, which sees through no If: Range takes scalars, and some models (onnx's
        own AffineGrid, written out) give it tensors of one element, which runtimes take too."""
        for output, value in zip(node.outputs, branch.outputs, strict=False):
            reader = _range_behind(output)
            if reader is not None and self.ctx.analysis(ProvenShapes, self.main).shape(value) != ():
                return f"'{value.name}' is not certain to be a scalar, which {describe(reader)} needs"
        return None


def _needed(scope: ir.Graph) -> set[ir.Node]:
    """The nodes that the outputs of a graph need: no runtime leaves them out."""
    pending = [tensor.producer for tensor in scope.outputs]
    here, found = set(scope.nodes), set()
    while pending:
        node = pending.pop()
        if node is not None and node in here and node not in found:
            found.add(node)
            pending += [tensor.producer for tensor in reads(node)]
    return found


def _range_behind(tensor: ir.Tensor) -> ir.Node | None:
    """A Range that reads a tensor, or what elementwise nodes make of it."""
    pending: list[ir.Node] = list(tensor.outputs)
    seen: set[ir.Node] = set()
    while pending and len(seen) < _FOLLOWED:
        node = pending.pop()
        if node.is_op("Range"):
            return node
        if node not in seen and node.is_op(*_ELEMENTWISE):
            seen.add(node)
            pending += [reader for output in node.outputs for reader in output.outputs]
    return None


def _is_whole_if(node: ir.Node, purity: Purity) -> bool:
    return (
        node.is_op("If")
        and len(node.inputs) == 1
        and purity.called(node) is None
        and all(
            isinstance(node.attr(name), ir.Graph) and len(node.attr(name).outputs) >= len(node.outputs)
            for name in ("then_branch", "else_branch")
        )
    )


def _known(condition: ir.Tensor, facts: Facts) -> bool | None:
    if condition in facts:
        return facts[condition]
    value = known_value(condition, limit=1)
    if value is not None and value.dtype == bool and value.size == 1:
        return bool(value.reshape(-1)[0])
    negation = condition.producer
    if negation is not None and negation.is_op("Not") and negation.inputs[0] in facts:
        return not facts[negation.inputs[0]]
    return None


def _inner_scopes(node: ir.Node, facts: Facts) -> list[tuple[ir.Graph, Facts]]:
    """The graphs that a node holds, with what is known in them."""
    if not node.attrs:
        return []
    found = []
    for name, value in node.attrs.items():
        for subgraph in value if isinstance(value, list) else (value,):
            if isinstance(subgraph, ir.Graph):
                is_branch = node.is_op("If") and name in ("then_branch", "else_branch") and node.inputs
                known = {**facts, node.inputs[0]: name == "then_branch"} if is_branch else facts
                found.append((subgraph, known))
    return found


def _branches_are_equal(node: ir.Node) -> bool:
    """Whether both branches are the same nodes, of the same order, on the same values."""
    one, other = node.attrs["then_branch"], node.attrs["else_branch"]
    if len(one.nodes) != len(other.nodes) or len(one.outputs) != len(other.outputs):
        return False
    sameness = Sameness()
    for left, right in zip(one.nodes, other.nodes, strict=True):
        key = sameness.key(left, one.opset)
        if key is None or key != sameness.key(right, other.opset):
            return False
        for left_output, right_output in zip(left.outputs, right.outputs, strict=True):
            sameness.equate(right_output, left_output)
    return all(
        sameness.number(left) == sameness.number(right) for left, right in zip(one.outputs, other.outputs, strict=True)
    )
