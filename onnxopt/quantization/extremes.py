"""The ends of large activations, found inside onnxruntime: their values are never all in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from onnxopt import ir
from onnxopt.activations.streaming import WHAT, Batch, Report, samples_in
from onnxopt.activations.tap_session import TapSession
from onnxopt.activations.tapping import tapped
from onnxopt.activations.together import Outline, agree
from onnxopt.data import DataSet, Feeds
from onnxopt.runtime.session import NotRunnable

Array = npt.NDArray[Any]

_FEW = 250_000
"""Values of all tensors for one sample up to which it is as fast to look at them outside, in 1 MB."""
_LARGEST = 2_000_000
"""Bytes of the largest tensor of a batch: it is read right after it was made, and comes from the processor's cache."""
_MOST = 64
"""Samples at a time, however small they are."""
_AXES_ARE_INPUTS = 18
"""The opset from which the axes of ReduceMin, ReduceMax and ReduceMean are an input."""
_NEGATIVE_AXES = 11
"""The opset from which Flatten counts from the end."""
_PREFIX = "onnxopt calibration "
_REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceMean")
"""The mean is NaN where a value is: onnxruntime's minimum and maximum may pass over it."""
_ORDERED = ("Clip", "Identity", "LeakyRelu", "Relu")
"""Operators upon single numbers that keep their order and do not round: their ends are those of the ends that come in,
which saves a third of the reductions where every Conv is followed by one."""


def extremes(
    graph: ir.Graph, channels: Mapping[str, int | None], data: DataSet, *, batch: int | None, report: Report | None
) -> Iterator[Batch] | None:
    """Run the graph over the data once; for each tensor only smallest and largest values come out.

    In place of a tensor stands an array with the same smallest and largest value, the same channels that are 0, and NaN
    where the tensor had one; where a value of some samples together is not finite, these come one by one. On tinybeauty
    (42 tensors, 87 MB a sample) that takes 25 MB beyond the imports, where taking the values out takes 130, and 0.6
    of the processor time; on ppocr_cls (518 tensors, 14 MB a sample) a third of it.

    Args:
        graph: A main graph.
        channels: The tensors, with the axis of their channels: 1, -1, or None for none.
        data: Samples for its inputs.
        batch: As for `streaming.batches`, but with None as many as let the largest tensor fit the processor's cache.
        report: Told how many samples are done.

    Returns:
        The batches; or None where the tensors are small, or of a type that onnxruntime does not reduce: take the values
        themselves. NotRunnable, while they come, where a tensor is empty that was not in the first sample.
    """
    fed = {tensor.name for tensor in graph.inputs} & {spec.name for spec in data.layout.inputs}
    inner = {name: axis for name, axis in channels.items() if name not in fed}
    if not inner:
        return None
    with tapped(graph, list(inner), lambda model: _reduce(model, inner, graph.opset)) as model:
        try:
            reducing = _Reducing(TapSession(model, in_order=True), tuple(inner), data)
            sizes = reducing.sizes()
        except NotRunnable:
            return None
    if sum(sizes) <= _FEW * (data.layout.batch or 1):
        return None
    return _batches(reducing, inner, fed & set(channels), batch or reducing.batch_size(max(sizes)), report)


@dataclass(frozen=True)
class _Reducing:
    """The session and what comes out of it."""

    session: TapSession
    names: tuple[str, ...]
    data: DataSet

    def run(self, feeds: Feeds) -> list[tuple[Array, Array, Array]]:
        """The smallest and the largest values of each tensor, and their means."""
        wanted = [_named(op, at) for at in range(len(self.names)) for op in _REDUCTIONS]
        found = self.session.run(feeds, wanted)
        parts = iter(np.asarray(found[name]) for name in wanted)
        return list(zip(parts, parts, parts, strict=True))

    def sizes(self) -> list[int]:
        """How many values the tensors have for the first sample."""
        return self._sizes(next(self.data.take(1).batches(1)))

    def batch_size(self, largest: int) -> int:
        """How many samples to run together, when the largest tensor has so many values for one."""
        if self.data.layout.batch is not None:
            return self.data.layout.batch
        size = max(1, min(_MOST, _LARGEST // (4 * largest)))
        return size if size > 1 and self._are_independent() else 1

    def _are_independent(self) -> bool:
        """Whether two samples run together give what they give one by one."""
        two = self.data.take(2)
        single = [self._outlines(feeds) for feeds in two.batches(1)]
        if len(single) < 2:
            return False
        try:
            together = self._outlines(next(two.batches(2)))
        except NotRunnable:
            return False
        return all(agree(parts, whole) for *parts, whole in zip(*single, together, strict=True))

    def _outlines(self, feeds: Feeds) -> list[Outline]:
        found = self.run(feeds)
        ends = [(0.0, 0.0) if _is_empty(one) else (float(one[0].min()), float(one[1].max())) for one in found]
        return [Outline(size, *of) for size, of in zip(self._sizes(feeds), ends, strict=True)]

    def _sizes(self, feeds: Feeds) -> list[int]:
        wanted = [_named("Size", at) for at in range(len(self.names))]
        found = self.session.run(feeds, wanted)
        return [int(np.asarray(found[name])) for name in wanted]


def _batches(
    reducing: _Reducing, inner: Mapping[str, int | None], fed: set[str], size: int, report: Report | None
) -> Iterator[Batch]:
    data = reducing.data
    done, total = 0, data.length or 0
    for feeds in data.batches(size):
        count = samples_in(feeds, data)
        found = reducing.run(feeds)
        if count > 1 and data.layout.batch is None and not all(map(_is_finite, found)):
            yield from _one_by_one(reducing, inner, fed, feeds, done)
        yield Batch(done, count, _values(found, inner, fed, feeds, count))
        done += count
        if report is not None:
            report(WHAT, done, total)


def _one_by_one(
    reducing: _Reducing, inner: Mapping[str, int | None], fed: set[str], feeds: Feeds, done: int
) -> Iterator[Batch]:
    """The samples of a batch each by itself, so that it can be said in which of them the fault is."""
    whole = reducing.data.layout.whole
    for at in range(samples_in(feeds, reducing.data)):
        single = {name: value if name in whole else value[at : at + 1] for name, value in feeds.items()}
        try:
            found = reducing.run(single)
        except NotRunnable:
            return
        yield Batch(done + at, 1, _values(found, inner, fed, single, 1))


def _is_empty(found: tuple[Array, Array, Array]) -> bool:
    """Whether the tensor had no values: onnxruntime has infinity as their minimum and -infinity as their maximum."""
    low, high, _ = found
    return not low.size or bool(low.min() > high.max())


def _is_finite(found: tuple[Array, Array, Array]) -> bool:
    low, high, mean = found
    return _is_empty(found) or bool(low.min() > -np.inf and high.max() < np.inf and not np.isnan(mean).any())


def _values(
    found: list[tuple[Array, Array, Array]], inner: Mapping[str, int | None], fed: set[str], feeds: Feeds, count: int
) -> dict[str, Array]:
    values: dict[str, Array] = {name: np.asarray(feeds[name]) for name in fed}
    for (name, axis), one in zip(inner.items(), found, strict=True):
        low, high, mean = one
        if _is_empty(one):
            values[name] = np.zeros(0, low.dtype)
            continue
        most = np.where(np.isnan(mean), np.nan, high) if np.isnan(mean).any() else high
        values[name] = _standing_for(low, most, axis, count)
    return values


def _standing_for(low: Array, high: Array, axis: int | None, samples: int) -> Array:
    """An array of the extremes with the channels where the tensor has them."""
    if axis == 1 and len(low) % samples == 0:
        return np.stack([low, high], axis=-1).reshape(samples, -1, 2)
    return np.stack([low, high]) if axis == -1 else np.stack([low, high], axis=-1)


def _reduce(model: ModelProto, channels: Mapping[str, int | None], opset: int) -> None:
    """Have each tensor reduced right behind the node that makes it, so that it need not be kept."""
    rows, columns = _named("axes", 0), _named("axes", 1)
    if opset >= _AXES_ARE_INPUTS:
        model.graph.initializer.extend(
            helper.make_tensor(name, 7, [1], [at]) for at, name in enumerate((rows, columns))
        )
    numbers = {name: at for at, name in enumerate(channels)}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes.append(NodeProto.FromString(node.SerializeToString()))
        for name in node.output:
            if name not in numbers:
                continue
            before = node.input[0] if node.input else ""
            if _keeps_order(node) and before in numbers and channels[before] == channels[name]:
                nodes += _handed_on(node, numbers[before], numbers[name])
            else:
                nodes += _reductions(name, numbers[name], channels[name], opset)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    outputs = [_named(op, at) for at in numbers.values() for op in (*_REDUCTIONS, "Size")]
    model.graph.output.extend(ValueInfoProto(name=name) for name in outputs)


def _keeps_order(node: NodeProto) -> bool:
    if node.op_type not in _ORDERED or node.domain not in ("", "ai.onnx"):
        return False
    return node.op_type != "LeakyRelu" or all(one.f >= 0 for one in node.attribute if one.name == "alpha")


def _handed_on(node: NodeProto, before: int, number: int) -> Iterator[NodeProto]:
    """The same node upon the extremes of what it reads; a NaN there is found there."""
    yield helper.make_node("Size", [node.output[0]], [_named("Size", number)])
    for op in _REDUCTIONS:
        twin = NodeProto.FromString(node.SerializeToString())
        twin.name = ""
        twin.input[0], twin.output[0] = _named(op, before), _named(op, number)
        yield twin


def _reductions(name: str, number: int, axis: int | None, opset: int) -> Iterator[NodeProto]:
    """Flatten to rows and columns, and reduce one of them."""
    if axis == -1 and opset < _NEGATIVE_AXES:
        axis = None
    at = {1: 2, -1: -1, None: 0}[axis]
    reduced = 0 if axis == -1 else 1
    flat = _named("Flatten", number)
    yield helper.make_node("Size", [name], [_named("Size", number)])
    yield helper.make_node("Flatten", [name], [flat], axis=at)
    for op in _REDUCTIONS:
        if opset >= _AXES_ARE_INPUTS:
            yield helper.make_node(op, [flat, _named("axes", reduced)], [_named(op, number)], keepdims=0)
        else:
            yield helper.make_node(op, [flat], [_named(op, number)], keepdims=0, axes=[reduced])


def _named(what: str, number: int) -> str:
    return f"{_PREFIX}{what} {number}"
