"""Apply rules everywhere in a model, in time linear in its nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property

from onnxopt.ir.edit import Edit, edit
from onnxopt.ir.graph import Graph, every_graph
from onnxopt.ir.matching import Gate, NoMatch
from onnxopt.ir.node import DEFAULT_DOMAINS, Node
from onnxopt.ir.pattern.dispatch import Dispatch, Entry
from onnxopt.ir.pattern.making import Maker
from onnxopt.ir.pattern.match import Match
from onnxopt.ir.pattern.privacy import Shared, require_no_widening, require_one_scope, require_private
from onnxopt.ir.pattern.rule import Rule
from onnxopt.ir.pattern.solver import Solver
from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.tensor import Tensor, Variable

_ROUNDS = 4
"""How often matches that were refused because of other readers are tried again, while readers go."""


@dataclass
class Outcome:
    """What was done."""

    applied: int = 0
    """Rewrites."""
    candidates: int = 0
    """Nodes at which any rule was worth trying."""
    by_rule: Counter[str] = field(default_factory=Counter)
    """Rewrites by `Rule.what`."""
    steps: int = 0
    """Comparisons of a term of a pattern with a tensor of the graph: the measure of the time taken."""


def rewrite(main: Graph, rules: Sequence[Rule], gate: Gate, shapes: ProvenShapes | None = None) -> Outcome:
    """Apply rules in every scope of a model, each where the earlier ones do not fit.

    One sweep in the order of the nodes, so that what a rewrite makes is seen by the matches that end further down; a
    new node is itself tried at once. Matches that were refused because a tensor has other readers are tried again, in
    at most four rounds. Near matches are told to `gate.refuse` at the end, one for each node, that which came furthest.

    Args:
        main: A main graph, whose nodes are sorted.
        rules: Tried in this order.
        gate: Asked before each rewrite.
        shapes: What is known of the shapes; worked out, if a match asks, where not given.
    """
    if not rules:
        return Outcome()
    with ExitStack() as stack:
        run = _Run(main, stack, rules, gate, shapes)
        for scope in every_graph(main):
            run.sweep(scope)
        run.retry()
        run.tell()
    return run.outcome


class _Run:
    def __init__(
        self, main: Graph, stack: ExitStack, rules: Sequence[Rule], gate: Gate, shapes: ProvenShapes | None
    ) -> None:
        self.main = main
        self.rules = rules
        self.gate = gate
        self.shapes = ProvenShapes(main) if shapes is None else shapes
        self.outcome = Outcome()
        self.hidden = frozenset(f.name for f in main.functions if f.domain in DEFAULT_DOMAINS)
        """Operators that local functions of the default domain stand for: they mean what the functions say."""
        self.dispatches: dict[int, Dispatch] = {}
        self.homes: dict[Node, Graph] = {}
        self.refused: dict[Node, str] = {}
        self.shared: dict[Node, Graph] = {}
        self._stack = stack

    @cached_property
    def edit(self) -> Edit:
        """The session, opened when the first candidate is seen: it looks at all scopes."""
        return self._stack.enter_context(edit(self.main))

    def sweep(self, scope: Graph) -> None:
        dispatch = self.dispatches.get(scope.opset)
        if dispatch is None:
            dispatch = self.dispatches[scope.opset] = Dispatch(self.rules, scope.opset)
        roots = dispatch.roots
        for node in scope.nodes:
            if node.op in roots:
                entries = dispatch(node)
                if entries and not self.edit.was_removed(node):
                    self._visit(node, scope, entries)

    def retry(self) -> None:
        before = -1
        for _ in range(_ROUNDS):
            if not self.shared or self.outcome.applied == before:
                return
            before = self.outcome.applied
            again, self.shared = self.shared, {}
            for node, scope in again.items():
                if not self.edit.was_removed(node):
                    self.refused.pop(node, None)
                    self._visit(node, scope, self.dispatches[scope.opset](node))

    def tell(self) -> None:
        for node, reason in self.refused.items():
            if not self.edit.was_removed(node):
                self.gate.refuse(reason, node)

    def _visit(self, node: Node, scope: Graph, entries: Iterable[Entry]) -> None:
        """Apply the first rule that fits, then see whether one fits what it made."""
        while True:
            self.outcome.candidates += 1
            made = self._apply_first(node, scope, entries)
            if made is None:
                return
            node, entries = made, self.dispatches[scope.opset](made)
            if not entries:
                return

    def _apply_first(self, node: Node, scope: Graph, entries: Iterable[Entry]) -> Node | None:
        furthest = 0
        for entry in entries:
            solver = Solver(entry.root, scope.opset, entry.near, self.hidden)
            match = self._find(solver, entry.rule, node, scope)
            self.outcome.steps += solver.steps
            if match is not None:
                return self._commit(entry.rule, match) if self.gate.allow(entry.rule.what, node) else None
            if solver.failure is not None and solver.depth > furthest:
                furthest = solver.depth
                self.refused[node] = f"not done: {entry.rule.what}: {solver.failure()}"
        return None

    def _find(self, solver: Solver, rule: Rule, node: Node, scope: Graph) -> Match | None:
        """The first solution that every condition holds for."""
        for _ in solver.solutions(node):
            match = Match(solver, node, scope, self.edit, self.shapes)
            try:
                require_one_scope(match, self.homes)
                require_private(match)
                require_no_widening(match, solver)
                rule.check(match)
            except NoMatch as no:
                if isinstance(no, Shared):
                    self.shared[node] = scope
                if str(no):
                    solver.complete(str(no))
            else:
                return match
        return None

    def _commit(self, rule: Rule, match: Match) -> Node | None:
        """Put what the rule makes in the place of the match; return the last new node, if it made one."""
        root, nodes = match.root, match.nodes
        self.outcome.applied += 1
        self.outcome.by_rule[rule.what] += 1
        self.refused.pop(root, None)
        maker = Maker(self.edit, root, match.scope)
        made = rule.rewrite(match, maker)
        if isinstance(made, Tensor):
            if self.edit.replace_all_uses(root.outputs[0], made):
                last = None
            else:
                last = maker.Identity(made)
        else:
            last = made
        maker.name_nodes(last or root)
        props: dict[str, str] = {}
        for node in (*reversed(nodes), root):
            props.update(node.metadata_props)
        for node in maker.nodes:
            node.metadata_props.update(props)
            self.homes[node] = match.scope
        if maker.nodes:
            self.edit.insert_before(root, *maker.nodes)
        if last is not None:
            _take_over(root, last)
        self._remove_dead(nodes)
        return last

    def _remove_dead(self, nodes: list[Node]) -> None:
        """Remove the nodes of a match whose outputs nothing reads now, then the constants that only they read."""
        pending = nodes
        while pending:
            dead = [n for n in pending if not any(t.name and self.edit.is_used(t) for t in n.outputs)]
            if not dead:
                return
            sources = []
            for node in dead:
                sources += [t.producer for t in node.inputs if t.producer is not None and t.producer.is_op("Constant")]
                self.edit.remove(node)
            pending = [n for n in (*pending, *dict.fromkeys(sources)) if not self.edit.was_removed(n)]


def _take_over(root: Node, last: Node) -> None:
    """The last new node gives out the very tensor that the root gave out, and has its name."""
    output: Variable = root.outputs[0]
    root.outputs.pop(0)
    last.outputs.append(output)
    last.name, last.doc_string = root.name, root.doc_string
