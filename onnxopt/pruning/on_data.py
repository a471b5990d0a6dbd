"""Weights of which the layer's data can be seen: those that one layer of the main graph reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from onnxopt import ir
from onnxopt.data import DataSet
from onnxopt.errors import BadOption
from onnxopt.linear.layer import Array, Layer
from onnxopt.pipeline.base import Context
from onnxopt.pruning.masks import Keep, layer_name
from onnxopt.pruning.prunable import Prunable

Wanted = tuple[Prunable, float]
"""A weight, and its share of zeros."""
T = TypeVar("T")
_NAMED = 3
"""Layers that a warning names."""


@dataclass(frozen=True, eq=False)
class Pruned:
    """What becomes of a weight."""

    target: Prunable
    keep: Keep
    """Of its shape."""
    weight: Array | None = None
    """Its new values; none: the old ones where they are kept."""
    bias: Array | None = None
    """The new bias of its layer; none: as it is."""
    layer: Layer | None = None
    """Where the bias is to be written."""


def required_data(ctx: Context, samples: int | None, method: str) -> DataSet:
    """The calibration data.

    Raises:
        BadOption: There are none.
    """
    if ctx.data is None:
        raise BadOption(f"prune{{method={method}}} needs calibration data: give --data")
    return ctx.data if samples is None else ctx.data.take(samples)


def divided(
    graph: ir.Graph, wanted: Iterable[Wanted], find: Callable[[Prunable], T | str], ctx: Context
) -> tuple[list[tuple[Prunable, float, T]], list[Wanted]]:
    """The weights whose data can be seen, with what `find` says of them; and the others, of which a warning tells why.

    Args:
        graph: The main graph.
        wanted: The weights.
        find: What tells how to see the data, or why that is not possible.
        ctx: Is warned.
    """
    nodes = set(graph.nodes)
    seen: list[tuple[Prunable, float, T]] = []
    blind: list[Wanted] = []
    reasons: dict[str, list[Prunable]] = {}
    for target, share in wanted:
        found = _obstacle(nodes, target) or find(target)
        if isinstance(found, str):
            reasons.setdefault(found, []).append(target)
            blind.append((target, share))
        else:
            seen.append((target, share, found))
    for reason, targets in reasons.items():
        _warn(targets, reason, ctx)
    return seen, blind


def _obstacle(nodes: set[ir.Node], target: Prunable) -> str | None:
    if target.node not in nodes:
        return "only the main graph's data are seen"
    if len(target.weight.readers) > 1:
        return "several layers read the weight"
    if target.weight.tensor not in target.node.inputs[1:]:
        return "the weight is the first factor"
    return None


def _warn(targets: Sequence[Prunable], reason: str, ctx: Context) -> None:
    names = ", ".join(layer_name(target.node) for target in targets[:_NAMED])
    more = f" and {len(targets) - _NAMED} more" if len(targets) > _NAMED else ""
    ctx.warn(f"pruned by magnitude: {names}{more}: {reason}")
