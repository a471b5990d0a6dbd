"""What matching has in common with its surroundings: a reason for every near match, and leave for every rewrite."""

from __future__ import annotations

from typing import Protocol

from onnxopt.ir.node import Node


class NoMatch(Exception):
    """Why something that looks like a match is none; its text is the reason given to `Gate.refuse`."""


class Gate(Protocol):
    """The two questions of `pipeline.Context` that a rewrite needs."""

    def allow(self, what: str, node: Node | str = "") -> bool:
        """Whether this rewrite may be done."""
        ...

    def refuse(self, reason: str, node: Node | str) -> None:
        """Record why a near match was left alone."""
        ...
