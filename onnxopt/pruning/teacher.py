"""The model as it was before the first lossy pass: what those that recover accuracy are taught by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.pipeline.base import Context

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Teacher:
    """Left by the first lossy pass with `remember`; `ctx.kept(Teacher)` finds it.

    Tensors are matched by name. Weights are shared with the model that goes on, until that writes one.
    """

    graph: ir.Graph
    """The main graph of a copy; nobody changes it."""
    channels: dict[str, Indices] = field(default_factory=dict)
    """For tensors that lost channels, by name: which of the teacher's they kept, in order (`narrow`)."""

    @classmethod
    def of(cls, graph: ir.Graph) -> Teacher:
        """A copy of a main graph as it is now."""
        return cls(graph.copy())

    def narrow(self, kept: Mapping[str, Sequence[int] | Indices]) -> None:
        """Say which channels a pass left of some tensors, as indices among the channels that there were before it."""
        for name, indices in kept.items():
            chosen = np.asarray(indices, np.int64)
            before = self.channels.get(name)
            self.channels[name] = chosen if before is None else before[chosen]


def remember(graph: ir.Graph, ctx: Context) -> Teacher:
    """Keep a copy of the graph, unless a pass before this one did; lossy passes call this before they change a value.

    Returns:
        What is kept: of the model before the first lossy pass.
    """
    known = ctx.kept(Teacher)
    if known is None:
        known = Teacher.of(graph)
        ctx.keep(known)
    return known
