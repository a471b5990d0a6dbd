"""When a node of an operator gives out one of its inputs, bit for bit."""

from __future__ import annotations

from onnxopt.rules.identities import arithmetic, movement, repeats
from onnxopt.rules.identities.facts import Rule

RULES: dict[str, Rule] = {**movement.RULES, **arithmetic.RULES, **repeats.RULES}
"""For each operator of the default domain."""
