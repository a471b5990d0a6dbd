"""Whether each pass changed the graph exactly when it says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxopt.errors import CheckFailed
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument, PassRun

if TYPE_CHECKING:
    from onnxopt import ir


@dataclass
class Claims(Instrument):
    """Holds what `Pass.run` returns against the fingerprint of the graph."""

    _fingerprint: str = ""

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """The fingerprint to compare with."""
        from onnxopt import ir

        self._fingerprint = ir.fingerprint(graph)

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """Compare.

        Raises:
            CheckFailed: The pass changed the graph and denies it, or the other way round.
        """
        from onnxopt import ir

        now = ir.fingerprint(graph)
        if (now != self._fingerprint) != run.changed:
            did = "changed the graph" if now != self._fingerprint else "changed nothing"
            raise CheckFailed(f"pass {run.index}, {run.text}, {did}, but returned {run.changed}")
        self._fingerprint = now
