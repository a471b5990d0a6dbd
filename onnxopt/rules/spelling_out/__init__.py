"""Operators that a target has not, or not in every form, said by others that it has: the same values.

What is here belongs to no target. A rule is a function of a `Site`, the node and what is certain of it; it makes nodes
and gives what takes the place of the node's outputs, or raises `NoMatch` with the reason. Which rules a target needs,
and for which forms of an operator, is its own table: `rules/qnn/table.py`.
"""

from onnxopt.ir.matching import NoMatch
from onnxopt.rules.spelling_out.engine import spell_out
from onnxopt.rules.spelling_out.site import Result, Site, Spelling

__all__ = ["NoMatch", "Result", "Site", "Spelling", "spell_out"]
