"""How the samples of a data set become feeds: which inputs are stacked into a batch, and which are fed whole.

Sample i of an array `a` is `a[i]`. Where a sample has one axis fewer than the model's input, the input's first axis is
the batch. Where it has as many, it is fed whole, and all inputs of the model then take one sample at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxopt.data.spec import Array, Feeds, Value, ValueSpec, show_shape
from onnxopt.errors import BadData
from onnxopt.ir.dtypes import STRING

Sample = Mapping[str, Value]
"""One sample: an array (or what a sequence or an optional takes) by input name, and extras such as labels."""


@dataclass(frozen=True)
class Layout:
    """How samples from `source` fit `inputs`, as the first sample showed."""

    source: str
    inputs: tuple[ValueSpec, ...]
    whole: frozenset[str]
    """Names of the inputs that take a sample as it is."""
    batch: int | None
    """Samples to feed at a time; None when the model leaves it open."""

    def feeds(self, samples: Sequence[Sample]) -> Feeds:
        """Feeds made of these samples: stacked, or whole if they are only one.

        Raises:
            BadData: one of them does not fit, or they are fewer than the model's fixed batch.
        """
        if self.batch is not None and len(samples) != self.batch:
            raise BadData(
                f"{self.source}: the model is fixed to batches of {self.batch}, {len(samples)} samples are left over; "
                "give a multiple"
            )
        fed: Feeds = {}
        for spec in self.inputs:
            values = [self._fitting(spec, sample) for sample in samples]
            fed[spec.name] = values[0] if spec.name in self.whole else np.stack(values)
        return fed

    def _fitting(self, spec: ValueSpec, sample: Sample) -> Value:
        value = given(spec, sample, self.source)
        if spec.kind != "tensor":
            return value
        wanted = spec.shape if spec.shape is None or spec.name in self.whole else spec.shape[1:]
        agrees = wanted is None or (
            len(wanted) == value.ndim
            and all(not isinstance(dim, int) or dim == size for dim, size in zip(wanted, value.shape, strict=True))
        )
        if not agrees or (spec.dtype is not None and spec.dtype != value.dtype):
            raise misfit(spec, value, self.source)
        return value


def layout_of(source: str, inputs: Sequence[ValueSpec], first: Sample) -> Layout:
    """How samples like `first` fit the inputs.

    Raises:
        BadData: an input is missing, has another dtype, or the wrong number of axes; or inputs disagree on the batch.
    """
    whole, fixed = set(), {}
    for spec in inputs:
        value = given(spec, first, source)
        if spec.kind != "tensor" or (spec.shape is not None and len(spec.shape) == value.ndim):
            whole.add(spec.name)
        elif spec.shape is not None and len(spec.shape) != value.ndim + 1:
            raise misfit(spec, value, source)
        elif spec.shape is not None and isinstance(spec.shape[0], int):
            fixed[spec.name] = spec.shape[0]
    sizes = sorted({*fixed.values(), *([1] if whole else [])})
    if len(sizes) > 1:
        raise BadData(
            f"{source}: the inputs of the model take {' and '.join(map(str, sizes))} samples at a time; "
            "give every input an axis of samples before all axes that the model declares"
        )
    layout = Layout(source, tuple(inputs), frozenset(whole), sizes[0] if sizes else None)
    layout.feeds([first] * (layout.batch or 1))
    return layout


def given(spec: ValueSpec, sample: Sample, source: str) -> Value:
    """The sample's value for one input, a tensor as an array of the dtype that numpy's files cannot tell.

    Raises:
        BadData: the sample has no such input.
    """
    if spec.name not in sample:
        raise BadData(f"{source} has no input '{spec.name}'; it has: {', '.join(sample) or 'nothing'}")
    if spec.kind != "tensor":
        return sample[spec.name]
    array: Array = np.asarray(sample[spec.name])
    if spec.dtype == STRING and array.dtype.kind in "US":
        return array.astype(object)
    if spec.dtype is not None and array.dtype.kind == "V" and array.dtype.itemsize == spec.dtype.itemsize:
        return array.view(spec.dtype)  # numpy's files keep bfloat16 and the like as bare bytes
    return array


def misfit(spec: ValueSpec, sample: Array, source: str) -> BadData:
    """The error for a sample of another dtype or shape than the model takes."""
    return BadData(
        f"{source}: input '{spec.name}' takes {spec.dtype}{show_shape(spec.shape)}, "
        f"a sample is {sample.dtype}{show_shape(sample.shape)}"
    )
