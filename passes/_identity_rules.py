"""When a node of an operator gives out one of its inputs, bit for bit."""

from __future__ import annotations

from onnxopt.passes import _identity_arithmetic, _identity_movement, _identity_repeats
from onnxopt.passes._identity_facts import Rule

RULES: dict[str, Rule] = {**_identity_movement.RULES, **_identity_arithmetic.RULES, **_identity_repeats.RULES}
"""For each operator of the default domain."""
