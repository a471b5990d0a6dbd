"""A rule: a pattern, when it holds, and what takes its place."""

from __future__ import annotations

from abc import ABC, abstractmethod

from onnxopt.ir.node import Node
from onnxopt.ir.pattern.making import Maker
from onnxopt.ir.pattern.match import Match
from onnxopt.ir.pattern.terms import Term
from onnxopt.ir.tensor import Tensor


class Rule(ABC):
    """One rewrite. A subclass gives `pattern` and `what`, `rewrite`, and `check` where the pattern does not say all."""

    pattern: Term
    """What is looked for; its root is computed by a node (or one of several: `either`)."""
    what: str
    """What is done and why, in a few words: the text that `Gate.allow` gets."""
    since: int = 7
    """The opset from which the rule holds: that of the operators it makes, and 7 for numpy's broadcasting."""
    near: tuple[str, ...] = ()
    """Operators inside the pattern. Where the root and all of these fit and something else does not, the match was a
    near one and its refusal is reported. By default one operator inside that is not mere arithmetic is enough."""

    def check(self, match: Match) -> None:  # noqa: B027
        """Refuse what the pattern alone lets pass.

        Raises:
            NoMatch: With the reason; with none, "", where it was not even a near match.
        """

    @abstractmethod
    def rewrite(self, match: Match, op: Maker) -> Node | Tensor:
        """Make the nodes with `op.Name(...)` and return the one whose output replaces the root's; or a tensor.

        It edits nothing and refuses nothing: `check` has done so.
        """
