"""What the factorizing passes have in common: find layers, look at what they see, split those that it pays for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from onnxopt import ir
from onnxopt.activations.second_order import SecondOrder, gathered
from onnxopt.data import DataSet
from onnxopt.errors import BadOption
from onnxopt.factorizing.choosing import Limits, weights_of
from onnxopt.factorizing.layers import Seen, find_layers
from onnxopt.factorizing.low_rank import Factors
from onnxopt.factorizing.splitting import Split
from onnxopt.ir.proven import ProvenShapes
from onnxopt.linear.layer import Layer
from onnxopt.linear.layer_weights import Selection
from onnxopt.linear.match import NoMatch
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context

_ERROR = 0.01
"""The largest error where neither it nor a rank is given."""


class Options(Protocol):
    """What the passes are asked for alike; each says what its rank is of."""

    @property
    def rank(self) -> int | None:
        """The one to take."""

    @property
    def max_error(self) -> float | None:
        """The largest part of the energy of an output that may be error."""

    @property
    def include(self) -> tuple[str, ...]:
        """Patterns of layers, weights or operators."""

    @property
    def exclude(self) -> tuple[str, ...]:
        """Patterns of those to leave alone."""

    @property
    def samples(self) -> int | None:
        """How many to look at; none: all."""


def require_sound(options: Options) -> None:
    """Raise ValueError for an option that is out of bounds."""
    if options.rank is not None and options.rank < 1:
        raise ValueError(f"rank is {options.rank}: give at least 1")
    if options.max_error is not None and not 0 <= options.max_error <= 1:
        raise ValueError(f"max-error is {options.max_error:g}: give 0 to 1")
    if options.samples is not None and options.samples < 1:
        raise ValueError(f"samples is {options.samples}: give at least 1")


def factorize(
    who: str, way: Way, options: Options, graph: ir.Graph, ctx: Context, before: Callable[[ir.Graph, Context], object]
) -> bool:
    """Find the layers, look at the data once, and split what pays; return whether anything changed.

    Args:
        who: The name of the pass.
        way: How layers are split.
        options: What was asked for.
        graph: A main graph.
        ctx: Of the pass.
        before: Called before the first value changes.

    Raises:
        BadOption: There are no calibration data, or a pattern matches nothing.
        BadData: The data do not fit.
    """
    if ctx.data is None:
        raise BadOption(f"{who} needs calibration data: give --data")
    error = options.max_error
    if error is None:
        error = _ERROR if options.rank is None else math.inf
    data = ctx.data if options.samples is None else ctx.data.take(options.samples)
    work = Factorizing(way, Limits(error, options.rank), Selection(options.include, options.exclude), data, ctx)
    layers = work.layers(graph)
    if not layers:
        return False
    before(graph, ctx)
    return work.run(graph, layers)


@dataclass(frozen=True)
class Way:
    """One way to make two layers of one."""

    ops: tuple[str, ...]
    require: Callable[[ir.Edit, Layer], bool]
    """As `find_layers` takes it."""
    most: Callable[[Layer], int]
    """The largest rank that pays."""
    weights: Callable[[Layer, int], int]
    """How many weights the two have with a rank."""
    ranks: Callable[[Seen, int], Iterator[Factors]]
    """The factors of rank 1, 2, ... up to a number."""
    split: Callable[[Seen, Factors], Split]


@dataclass
class Factorizing:
    """A pass at work."""

    way: Way
    limits: Limits
    selection: Selection
    data: DataSet
    ctx: Context

    def layers(self, graph: ir.Graph) -> list[Layer]:
        """The layers of which it would pay to make two, if the error is small enough; reasons for the others.

        Raises:
            BadOption: A pattern of names matches nothing.
        """
        self.selection.require_matches(graph, self.ctx.current, self.way.ops)
        setting = Setting(self.ctx.analysis(ProvenShapes, graph), self.ctx.dialect)
        with ir.edit(graph) as edit:
            return list(find_layers(edit, self.way.ops, self.selection, setting, self.ctx, self._require))

    def _require(self, edit: ir.Edit, layer: Layer) -> bool:
        if not self.way.require(edit, layer):
            return False
        most = self.way.most(layer)
        if most < 1:
            raise NoMatch("two layers would have as many weights even with rank 1")
        if self.limits.rank is not None and self.limits.rank > most:
            raise NoMatch(f"rank {self.limits.rank} does not pay, {most} is the largest that does")
        return True

    def run(self, graph: ir.Graph, layers: Sequence[Layer]) -> bool:
        """Split those that it pays for; return whether any was.

        Raises:
            BadData: The data do not fit.
        """
        macs: Mapping[ir.Node, int] = ir.costs(graph).macs_by_node
        errors: list[float] = []
        for layer, moments in gathered(graph, layers, lambda layer: layer, self.data, self.ctx.report_progress):
            with ir.edit(graph) as edit:  # of its own: the next run over the data sees a finished graph
                error = self._split(edit, layer, moments, macs.get(layer.node))
            errors += [] if error is None else [error]
        if errors:
            self.ctx.count("largest error of an output, millionths of its energy", round(max(errors) * 1e6))
        return bool(errors)

    def _split(self, edit: ir.Edit, layer: Layer, moments: SecondOrder, macs: int | None) -> float | None:
        """The error that was made; None where the layer was left alone."""
        ctx = self.ctx
        try:
            seen = Seen.of(layer, moments)
            most = self.way.most(layer)
            found = self.limits.choose(self.way.ranks(seen, most), most)
            split = self.way.split(seen, found)
        except NoMatch as no:
            ctx.refuse(str(no), layer.node)
            return None
        before, after = weights_of(layer), self.way.weights(layer, found.rank)
        if not ctx.allow(f"rank {found.rank}: {before:,} weights as {after:,}, {found.error:.2%} error", layer.node):
            return None
        split.write(edit, layer)
        ctx.count("layers")
        ctx.count("weights before", before)
        ctx.count("weights after", after)
        if macs is not None:
            ctx.count("MACs before", macs)
            ctx.count("MACs after", macs // before * after)
        return found.error
