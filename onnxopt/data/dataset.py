"""A data set: samples that stream past, checked against the model's inputs and grouped as it takes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxopt.data.layout import Layout, Sample, given, layout_of
from onnxopt.data.spec import Feeds, ValueSpec
from onnxopt.errors import BadData


@dataclass(frozen=True)
class DataSet:
    """Samples for the inputs of one model. Reads them anew on each pass, and holds one batch at a time."""

    source: str
    """Where the samples come from, as messages name it."""
    layout: Layout
    """How samples become feeds."""
    samples: Callable[[], Iterator[Sample]]
    """Starts a pass over the samples."""
    length: int | None = None
    """How many samples there are; None when only a pass over them tells."""
    extras: tuple[str, ...] = ()
    """Names of the arrays that are no inputs of the model, such as labels; one entry a sample."""

    def batches(self, size: int = 1, extras: Collection[str] = ()) -> Iterator[Feeds]:
        """Yield feeds for a session, in order.

        Args:
            size: samples at a time, where the model leaves that open; the last feeds may hold fewer.
            extras: names of further arrays to add, stacked to [samples, ...].

        Raises:
            BadData: a sample does not fit, an extra is not there, or a batch of fixed size cannot be filled.
        """
        if missing := sorted(set(extras) - set(self.extras)):
            raise BadData(
                f"{self.source} has no array '{missing[0]}'; it has: {', '.join(self.extras) or 'inputs only'}"
            )
        samples = self.samples()
        while group := list(itertools.islice(samples, self.layout.batch or size)):
            yield self.layout.feeds(group) | {name: np.stack([s[name] for s in group]) for name in extras}

    def take(self, count: int) -> DataSet:
        """The first `count` samples, or all if there are fewer; rounded up to whole batches of a fixed size."""
        whole = self.layout.batch or 1
        count = -(-count // whole) * whole
        length = None if self.length is None else min(count, self.length)
        return replace(self, samples=lambda: itertools.islice(self.samples(), count), length=length)

    def spread(self, count: int) -> DataSet:
        """At most `count` samples, evenly spread over all: a file may have one class behind the other.

        The first ones where only a pass tells how many there are.
        """
        whole = self.layout.batch or 1
        count = -(-count // whole) * whole
        length = self.length
        if length is None or length <= count:
            return self.take(count)

        def taken() -> Iterator[Sample]:
            return (sample for place, sample in enumerate(self.samples()) if place * count % length < count)

        return replace(self, samples=taken, length=count)


def data_set(
    source: str, inputs: Sequence[ValueSpec], samples: Callable[[], Iterator[Sample]], length: int | None = None
) -> DataSet:
    """A data set of which the first sample was read and fits.

    Raises:
        BadData: there are no samples, the first does not fit, or they fill no whole number of batches of a fixed size.
    """
    first = next(samples(), None)
    if first is None:
        raise BadData(f"{source} holds no samples")
    layout = layout_of(source, inputs, first)
    if length is not None and length % (layout.batch or 1):
        raise BadData(
            f"{source} holds {length} samples; the model is fixed to batches of {layout.batch}: give a multiple"
        )
    names = {spec.name for spec in inputs}
    return DataSet(source, layout, samples, length, tuple(name for name in first if name not in names))


def require_finite(data: DataSet) -> DataSet:
    """The same data set, refusing NaN and infinity in floating-point inputs as the samples pass.

    Raises:
        BadData: while iterating; the text names the input and the sample.
    """

    def checked() -> Iterator[Sample]:
        for index, sample in enumerate(data.samples()):
            for spec in data.layout.inputs:
                value = given(spec, sample, data.source)
                for array in value if isinstance(value, list) else [value]:
                    if array is not None and np.asarray(array).dtype.kind in "fV" and not np.isfinite(array).all():
                        raise BadData(f"{data.source}: input '{spec.name}' holds NaN or infinity in sample {index}")
            yield sample

    return replace(data, samples=checked)
