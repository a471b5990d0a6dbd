"""All weights of a model pruned to second order, each to the same share, or together by what the model gives out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from onnxopt import ir
from onnxopt.activations.second_order import BYTES, SecondOrder, gathered
from onnxopt.data import DataSet
from onnxopt.ir.proven import ProvenShapes
from onnxopt.linear.layer import Layer, read_layer
from onnxopt.linear.match import NoMatch
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context
from onnxopt.pruning.by_score import select_together
from onnxopt.pruning.layer_importance import LayerImportance
from onnxopt.pruning.magnitude import by_magnitude, by_magnitude_together
from onnxopt.pruning.masks import Keep
from onnxopt.pruning.on_data import Pruned, Wanted, divided, required_data
from onnxopt.pruning.patterns import Pattern, Scores
from onnxopt.pruning.prunable import Prunable
from onnxopt.pruning.second_order_pruning import energy, error_of, fit_layer, increments, prune_layer

_TRIAL = 0.7
"""The share of zeros at which the importance of a layer is measured. With fewer, the error of a layer that bears them
well is lost in rounding."""
_LOST = 1e-9
"""The part of what a layer gives out that is lost by it, from which on it is told from rounding."""
_LEAST = 1e-3
"""Of the usual importance of a layer: that of one that looks as if it had none, on the few samples."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """A weight, and the layer that reads it."""

    target: Prunable
    share: float
    """Of zeros."""
    layer: Layer


def by_second_order(
    graph: ir.Graph, wanted: Iterable[Wanted], pattern: Pattern, ctx: Context, *, together: bool, samples: int | None
) -> Iterator[Pruned]:
    """What becomes of each weight, where each loses the share that is beside it, or all of one share lose it together.

    Together those go that cost the outputs of the model least: the error that the removal of a weight adds to what its
    layer gives out, times what an error of that layer does to the model. The latter is measured: on a few samples, with
    this layer alone pruned. Where that would take too long, errors count as parts of what their layer gives out.

    Weights whose layer's data are not seen are pruned by magnitude, with a warning. Whoever takes the others may write
    them into the graph at once.

    Args:
        graph: The main graph.
        wanted: The weights, and their shares of zeros.
        pattern: Where zeros may lie.
        ctx: Has the data; is told what is refused.
        together: Whether weights of one share lose it together.
        samples: How many to look at; none: all.

    Raises:
        BadOption: There are no calibration data.
        BadData: A sample does not fit.
    """
    data = required_data(ctx, samples, "second-order")
    setting = Setting(ctx.analysis(ProvenShapes, graph), ctx.dialect)
    found, blind = divided(graph, wanted, lambda target: _find(graph, target, setting), ctx)
    seen = _Moments(graph, [_Seen(*each) for each in found], data, ctx)
    yield from (Pruned(*each) for each in (by_magnitude_together if together else by_magnitude)(blind, pattern))
    keeps = _together(graph, seen, pattern, data, ctx) if together else {}
    for each, moments in seen:
        with _refusing(each, ctx):
            if not together:
                weight, bias, keep = prune_layer(each.layer, moments, each.share, pattern)
            elif each in keeps:
                keep = each.target.restored(keeps.pop(each))
                weight, bias = fit_layer(each.layer, moments, keep)
            else:
                continue
            yield Pruned(each.target, keep, weight, bias, each.layer)


def _find(graph: ir.Graph, target: Prunable, setting: Setting) -> Layer | str:
    """The layer that reads a weight, or why its data are not seen."""
    node, data = target.node, target.node.inputs[0]
    if not node.is_op("Conv", "Gemm", "MatMul"):
        return f"the data of {node.op} are not seen as columns"
    if data.producer is None and data not in graph.inputs:
        return "its data are constant"
    try:
        return read_layer(node, graph.opset, setting)
    except NoMatch as no:
        return str(no)


def _together(graph: ir.Graph, seen: _Moments, pattern: Pattern, data: DataSet, ctx: Context) -> dict[_Seen, Keep]:
    """What to keep of each weight, [outputs, inputs * kernel]."""
    measure = LayerImportance(graph, data) if LayerImportance.is_affordable(graph, len(seen)) else None
    costs: list[_Costs] = []
    for each, moments in seen:
        with _refusing(each, ctx):
            costs.append(_costs(each, moments, pattern, measure))
    known = [cost.importance for cost in costs if cost.importance is not None]
    usual = float(np.median(known)) if known else 1.0
    keeps: dict[_Seen, Keep] = {}
    for share in dict.fromkeys(cost.of.share for cost in costs):
        chosen = [cost for cost in costs if cost.of.share == share]
        scored = [(cost.of.target, cost.of_model(usual)) for cost in chosen]
        keeps |= {cost.of: keep for cost, keep in zip(chosen, select_together(scored, share, pattern), strict=True)}
    return keeps


@contextmanager
def _refusing(each: _Seen, ctx: Context) -> Iterator[None]:
    """Leaves a layer alone that cannot be pruned, and says why."""
    try:
        yield
    except NoMatch as no:
        ctx.refuse(str(no), each.layer.node)


class _Moments:
    """Weights with the moments of their data, again and again: gathered anew each time, unless they fit into memory."""

    def __init__(self, graph: ir.Graph, wanted: Sequence[_Seen], data: DataSet, ctx: Context) -> None:
        self._graph, self._wanted, self._data, self._ctx = graph, wanted, data, ctx
        fits = sum(SecondOrder.bytes(each.layer) for each in wanted) <= BYTES
        self._found = list(self._gather()) if fits and wanted else None

    def _gather(self) -> Iterator[tuple[_Seen, SecondOrder]]:
        return gathered(self._graph, self._wanted, _layer, self._data, self._ctx.report_progress)

    def __len__(self) -> int:
        return len(self._wanted)

    def __iter__(self) -> Iterator[tuple[_Seen, SecondOrder]]:
        return self._gather() if self._found is None else iter(self._found)


@dataclass(frozen=True, eq=False)
class _Costs:
    """What the removal of each weight costs its layer, and what that costs the model."""

    of: _Seen
    scores: Scores
    """[outputs, inputs * kernel], in parts of what the layer gives out."""
    importance: float | None
    """The part of what the model gives out that is lost with one of what the layer does; None: not known."""

    def of_model(self, usual: float) -> Scores:
        """What the removal of each weight costs the model; `usual` for an importance that is not known, or none."""
        factor = usual if self.importance is None else max(self.importance, _LEAST * usual)
        return np.asarray(self.scores * np.float32(factor), np.float32)


def _costs(each: _Seen, moments: SecondOrder, pattern: Pattern, measure: LayerImportance | None) -> _Costs:
    layer = each.layer
    given_out = max(energy(layer, moments), np.finfo(np.float64).tiny)
    scores = np.asarray(increments(layer, moments, pattern, each.share) / given_out, np.float32)
    if measure is None:
        return _Costs(each, scores, None)
    keep = each.target.restored(select_together([(each.target, scores)], _TRIAL, pattern)[0])
    weight, bias = fit_layer(layer, moments, keep)
    lost = error_of(layer, moments, weight) / given_out
    found = measure.error(layer, weight, bias) if lost > _LOST else None
    return _Costs(each, scores, None if found is None else found / lost)


def _layer(each: _Seen) -> Layer:
    return each.layer
