"""What breaks a target's rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxopt.pipeline.backend import Problem
from onnxopt.pipeline.base import describe

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.quantization.legality.facts import Facts


@dataclass(frozen=True)
class Violation(Problem):
    """One rule of a target that a quantized graph breaks; the reason ends with the remedy."""

    is_wrong: bool = True
    """Whether the target refuses the model or computes something else; otherwise it only loses speed or accuracy."""


Check = Callable[["Facts"], Iterator[Violation]]
"""One rule of one target, or of several: finds what breaks it."""


def wrong(node: ir.Node | str, reason: str) -> Violation:
    """What the target refuses, or gets wrong."""
    return Violation(describe(node), reason)


def slow(node: ir.Node | str, reason: str) -> Violation:
    """What the target takes, and does not do as it could."""
    return Violation(describe(node), reason, is_wrong=False)
