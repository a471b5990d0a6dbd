"""Peephole rewrites: a pattern that reads as the graph it matches, a check that gives its reasons, a rewrite.

A rule is one small class:

    class DoubleNegation(Rule):
        '''-(-x) = x, exactly.'''

        x = any_()
        pattern = op.Neg(op.Neg(x))
        what = "cancel the two Neg"

        def check(self, match: Match) -> None:
            if match.dtype(match[self.x]).kind != "f":
                raise NoMatch(f"'{match[self.x].name}' is not floating-point")

        def rewrite(self, match: Match, op: Maker) -> Tensor:
            return match[self.x]

and `rewrite(graph, [DoubleNegation()], ctx)` applies it everywhere: main graph, subgraphs and functions. The engine
holds every match to what no rule can do without: all nodes in one scope; interiors that nothing else reads and no
graph gives out (those that a rule reads twice are fine); numbers that add no axis; constants that the caller cannot
override; attributes at their defaults unless the pattern mentions them; operators that no local function redefines.
It asks the gate, carries over name, doc string and metadata, removes what is dead, and tells the gate of near matches:
those where the root and the operator inside that distinguishes the pattern were there, and then something failed.

The new node gives out the very tensor that the root gave out, so its name, readers and declaration stay. What is
written in `terms` and `spelling` says what patterns can express; `solver` states the bound of the search.
"""

from onnxopt.ir.matching import Gate, NoMatch
from onnxopt.ir.pattern.engine import Outcome, rewrite
from onnxopt.ir.pattern.making import Maker
from onnxopt.ir.pattern.match import Match
from onnxopt.ir.pattern.rule import Rule
from onnxopt.ir.pattern.spelling import any_, anything, constant, either, op, optional, scalar, through_cast
from onnxopt.ir.pattern.terms import Computed, Term

__all__ = [
    "Computed",
    "Gate",
    "Maker",
    "Match",
    "NoMatch",
    "Outcome",
    "Rule",
    "Term",
    "any_",
    "anything",
    "constant",
    "either",
    "op",
    "optional",
    "rewrite",
    "scalar",
    "through_cast",
]
