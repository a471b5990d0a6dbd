"""Runs only the first passes of a pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument, PassRun

if TYPE_CHECKING:
    from onnxopt import ir


@dataclass
class StopBefore(Instrument):
    """Holds back every pass from number `index` on; the rounds of a `repeat` count on."""

    index: int

    def should_run(self, run: PassRun, graph: ir.Graph, ctx: Context) -> bool:
        """Whether its turn is earlier."""
        return run.index < self.index
