"""Which function lowers an operator: found by the operator's name, registered where the function is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxopt.backends.coreml.lowering.site import Site
    from onnxopt.pipeline.backend import Problem

Lowering = Callable[["Site"], Any]
"""Gives what the node computes: a MIL Var, or an array where it is known; a sequence of them for several outputs."""
_LOWERINGS: dict[tuple[str, str], Lowering] = {}


class Refused(Exception):
    """A node cannot be lowered; the text says why, naming the attribute or the input."""


class Unknown(Refused):
    """A tensor is read that was not lowered: what computes it was refused, and is blamed already."""


class RefusedInside(Refused):
    """Nodes of a subgraph cannot be lowered; the node that has the subgraph is not to blame."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{problem.node}: {problem.reason}" for problem in problems))
        self.problems = problems


def lowers(*ops: str, domain: str = "") -> Callable[[Lowering], Lowering]:
    """Register a function for operators. One operator has one function, whatever its opset."""

    def register(function: Lowering) -> Lowering:
        for op in ops:
            if (domain, op) in _LOWERINGS:
                raise TypeError(f"{op} is lowered by {_LOWERINGS[domain, op].__name__} already")
            _LOWERINGS[domain, op] = function
        return function

    return register


def lowering_of(op: str, domain: str | None) -> Lowering | None:
    """The function that lowers an operator; None where there is none."""
    return _LOWERINGS.get(("" if domain in (None, "", "ai.onnx") else str(domain), op))


def lowered_operators() -> list[str]:
    """Every operator of ONNX's default domain that can be lowered, by name."""
    return sorted(op for domain, op in _LOWERINGS if not domain)
