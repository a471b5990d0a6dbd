"""A gate that remembers, and a rule from its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from onnxopt import ir
from onnxopt.ir.pattern import Maker, Match, Outcome, Rule, Term, rewrite


@dataclass
class Recorder:
    limit: int = 1_000_000
    allowed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def allow(self, what: str, node: ir.Node | str = "") -> bool:
        if len(self.allowed) >= self.limit:
            return False
        self.allowed.append(what)
        return True

    def refuse(self, reason: str, node: ir.Node | str) -> None:
        self.refused.append(reason)


def rule(
    pattern: Term,
    make: Callable[[Match, Maker], ir.Node | ir.Tensor],
    check: Callable[[Match], None] = lambda match: None,
    near: tuple[str, ...] = (),
) -> Rule:
    """A rule whose class need not be written out."""
    body = {
        "pattern": pattern,
        "what": "test",
        "near": near,
        "check": lambda self, match: check(match),
        "rewrite": lambda self, match, op: make(match, op),
    }
    return type("TestRule", (Rule,), body)()  # type: ignore[no-any-return]


def apply(graph: ir.Graph, *rules: Rule, limit: int = 1_000_000) -> tuple[Recorder, Outcome]:
    gate = Recorder(limit)
    outcome = rewrite(graph, rules, gate)
    ir.sort(graph)
    return gate, outcome


def ops(graph: ir.Graph) -> list[str]:
    return [node.op for node in graph.nodes]
