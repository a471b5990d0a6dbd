"""What there is to reconstruct in a model, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from onnxopt import ir
from onnxopt.activations.streaming import Batch
from onnxopt.ir.edit import Edit
from onnxopt.linear.layer import is_layer, read_layer
from onnxopt.linear.match import NoMatch, constant_of
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context
from onnxopt.pruning.reconstruction.changed import changed_nodes, read_by
from onnxopt.pruning.reconstruction.corrected_norm import CorrectedNorm
from onnxopt.pruning.reconstruction.fitted_layer import FittedLayer
from onnxopt.pruning.reconstruction.observing import require_certain_place
from onnxopt.pruning.reconstruction.places import place_of, read_norm
from onnxopt.pruning.teacher import Teacher

_BYTES = 400_000_000
"""Of sums that are gathered in one run over the data; what exceeds that takes another run."""
_TOO_MANY = 2_000_000_000
"""Of sums of one layer."""


class Step(Protocol):
    """A layer or a BatchNormalization."""

    node: ir.Node
    data: str
    """The tensor that it reads, in the model as it is."""
    target: str
    """The tensor of the original that it should give out."""
    axis: int
    """Along which that has its channels."""

    @property
    def last(self) -> ir.Node:
        """The node that gives that out."""

    @property
    def bytes(self) -> int:
        """What the sums over the data will take."""

    def add(self, batch: Batch, target: npt.NDArray[Any]) -> None:
        """Take in a batch, and the target of it; raises NoMatch where they do not fit."""

    def settle(self, edit: Edit, ctx: Context) -> None:
        """After the last batch: write what is better; raises NoMatch where nothing is."""


def steps(
    edit: Edit, teacher: Teacher, setting: Setting, samples: int | None, ctx: Context, *, layers: bool
) -> list[Step]:
    """All of the main graph, in its order; near matches are refused.

    Args:
        edit: A session of the model as it is.
        teacher: The original.
        setting: The surroundings of layers.
        samples: How many there are of data.
        ctx: Told what is refused.
        layers: Whether weights are fitted; if not, only normalizations are corrected.
    """
    graph = edit.main
    known = {tensor.name for node in teacher.graph.nodes for tensor in node.outputs if tensor.name}
    changed = changed_nodes(graph, teacher.graph)
    found: list[Step] = []
    done: set[ir.Node] = set()
    for node in (node for node in graph.nodes if node in changed):
        try:
            step = _fitted(edit, node, setting, samples) if layers and is_layer(node) else _corrected(node, done)
            if step is None:
                continue
            if step.target not in known:
                raise NoMatch(f"the original has no tensor '{step.target}' to compare with")
        except NoMatch as no:
            ctx.refuse(str(no), node)
            continue
        found.append(step)
        done |= {step.node, step.last}
    return found


def _fitted(edit: Edit, node: ir.Node, setting: Setting, samples: int | None) -> FittedLayer | None:
    if constant_of(node.inputs[1]) is None and constant_of(node.inputs[0]) is None:
        return None  # a product of activations
    layer = read_layer(node, edit.main.opset, setting)
    if edit.sole_reader(node.inputs[1]) is not node:
        raise NoMatch(f"its weight '{node.inputs[1].name}' is read by others too")
    if constant_of(node.inputs[0]) is not None:
        raise NoMatch(f"its data '{node.inputs[0].name}' are constant")
    require_certain_place(layer)
    found = FittedLayer(layer, place_of(edit, layer), samples)
    if found.bytes > _TOO_MANY:
        raise NoMatch(f"its equations would take {found.bytes / 1e9:.1f} GB")
    return found


def _corrected(node: ir.Node, done: set[ir.Node]) -> CorrectedNorm | None:
    """Behind a layer that is fitted there is nothing to correct."""
    norm = read_norm(node)
    if norm is None or node in done or node.inputs[0].producer in done:
        return None
    return CorrectedNorm(norm)


def runs(graph: ir.Graph, found: Sequence[Step]) -> Iterator[list[Step]]:
    """Steps that do not depend on each other, those first that the others depend on, as many as memory takes."""
    ends = {step.last: step for step in found}
    levels: dict[ir.Tensor, int] = {}
    at: dict[int, list[Step]] = {}
    for node in graph.nodes:
        level = max((levels.get(tensor, 0) for tensor in read_by(node)), default=0)
        if step := ends.get(node):
            at.setdefault(level, []).append(step)
            level += 1
        levels.update(dict.fromkeys(node.outputs, level))
    for level in sorted(at):
        part: list[Step] = []
        taken = 0
        for step in at[level]:
            if part and taken + step.bytes > _BYTES:
                yield part
                part, taken = [], 0
            part.append(step)
            taken += step.bytes
        yield part
