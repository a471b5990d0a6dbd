"""What metrics add up while the outputs of a model pass: one object for each model that is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from onnxopt.data.metrics import cosine, psnr
from onnxopt.data.spec import Array, Feeds, show_shape
from onnxopt.errors import BadData

_OVER = 2.0
"""How many times its peak an image may go up to; one that goes further has another peak."""


class Score(Protocol):
    """The figure of one model, as far as samples have passed."""

    def add(self, outputs: Feeds, expected: Feeds, extras: Feeds, samples: int) -> None:
        """Take in one batch.

        Args:
            outputs: What the model gave.
            expected: What the reference model gave.
            extras: The further arrays of the data, [samples, ...] each.
            samples: How many.

        Raises:
            BadData: They cannot be judged; the text names the metric, the array and its shape.
        """

    @property
    def value(self) -> float:
        """In the metric's unit; NaN where that cannot be told, since an output was no number."""


class Figure(Protocol):
    """How near one output is to what is expected, as far as samples have passed."""

    def add(self, expected: Array, actual: Array, samples: int) -> None:
        """Take in one batch: finite arrays of one shape."""

    @property
    def value(self) -> float:
        """So far; NaN of nothing."""


class Top1:
    """The share of samples, in %, whose largest score is at the index that the labels say. NaN is never right."""

    def __init__(self, labels: str) -> None:
        self.labels, self.right, self.seen = labels, 0, 0

    def add(self, outputs: Feeds, expected: Feeds, extras: Feeds, samples: int) -> None:
        """As `Score`."""
        scores = _scores(outputs, samples)
        labels = self._classes(np.asarray(extras[self.labels]), samples, scores.shape[1])
        is_number = ~np.isnan(scores).any(axis=1)  # argmax finds the NaN
        self.right += int(np.count_nonzero((np.argmax(scores, axis=1) == labels) & is_number))
        self.seen += samples

    @property
    def value(self) -> float:
        """In %."""
        return 100.0 * self.right / self.seen if self.seen else math.nan

    def _classes(self, labels: Array, samples: int, classes: int) -> Array:
        if labels.dtype.kind not in "iu" or labels.size != samples:
            raise BadData(
                f"top1: '{self.labels}' is {labels.dtype}{show_shape(labels.shape[1:])} a sample; it needs one "
                "integer, the number of the class"
            )
        flat = labels.reshape(-1)
        wrong = flat[(flat < 0) | (flat >= classes)]
        if wrong.size:
            raise BadData(f"top1: '{self.labels}' has the class {wrong[0]}, and the model tells 0 to {classes - 1}")
        return flat


class Agreement:
    """The share of samples, in %, whose largest score is where the reference's is. NaN never agrees."""

    def __init__(self) -> None:
        self.same, self.seen = 0, 0

    def add(self, outputs: Feeds, expected: Feeds, extras: Feeds, samples: int) -> None:
        """As `Score`."""
        scores, wanted = (_scores(each, samples, "agreement") for each in (outputs, expected))
        is_number = ~np.isnan(scores).any(axis=1)  # argmax finds the NaN
        self.same += int(np.count_nonzero((scores.argmax(axis=1) == wanted.argmax(axis=1)) & is_number))
        self.seen += samples

    @property
    def value(self) -> float:
        """In %."""
        return 100.0 * self.same / self.seen if self.seen else math.nan


class Called:
    """The mean over the samples of what a user's function returns."""

    def __init__(self, spec: str, function: Callable[[Feeds, Feeds], Any]) -> None:
        self.spec, self.function, self.total, self.seen = spec, function, 0.0, 0

    def add(self, outputs: Feeds, expected: Feeds, extras: Feeds, samples: int) -> None:
        """As `Score`."""
        try:
            found = self.function(dict(outputs), dict(extras))
        except Exception as error:  # a user's function may raise anything
            said = " ".join(str(error).split())
            raise BadData(f"metric {self.spec} raised {type(error).__name__}: {said}") from error
        try:
            value = float(found)
        except (TypeError, ValueError) as error:
            raise BadData(f"metric {self.spec} must return a number, it returned {type(found).__name__}") from error
        self.total += samples * value
        self.seen += samples

    @property
    def value(self) -> float:
        """In the function's own unit."""
        return self.total / self.seen if self.seen else math.nan


class Near:
    """How near the outputs are to a target, or each to the reference's: the worst counts, for `value`."""

    def __init__(self, metric: str, target: str | None, start: Callable[[], Figure]) -> None:
        self.metric, self.target, self.start = metric, target, start
        self.figures: dict[str, Figure] = {}
        """By output."""
        self._broken: set[str] = set()

    def add(self, outputs: Feeds, expected: Feeds, extras: Feeds, samples: int) -> None:
        """As `Score`."""
        for name, one, other in self._pairs(outputs, expected, extras):
            self._add(name, one, other, samples)

    @property
    def value(self) -> float:
        """In the figures' unit."""
        return min(self.values.values(), key=lambda value: (not math.isnan(value), value), default=math.nan)

    @property
    def values(self) -> dict[str, float]:
        """By output."""
        return {name: math.nan if name in self._broken else each.value for name, each in self.figures.items()}

    def _add(self, name: str, expected: Array, actual: Array, samples: int) -> None:
        figure = self.figures.setdefault(name, self.start())
        counts = np.isfinite(expected)
        if not np.isfinite(actual).all(where=counts):
            self._broken.add(name)
        elif not counts.all():  # the reference itself is infinite there: nothing to be near to
            figure.add(np.where(counts, expected, 0), np.where(counts, actual, 0), samples)
        else:
            figure.add(expected, actual, samples)

    def _pairs(self, outputs: Feeds, expected: Feeds, extras: Feeds) -> Iterator[tuple[str, Array, Array]]:
        if self.target is not None:
            yield self._aimed(outputs, np.asarray(extras[self.target]))
            return
        floats = [(name, value) for name, value in _tensors(expected) if value.dtype.kind in "fV"]
        if not floats:
            raise BadData(f"{self.metric}: the model has no floating-point outputs")
        for name, value in floats:
            if name not in outputs or np.shape(outputs[name]) != value.shape:
                raise BadData(f"{self.metric}: '{name}' is no output of {show_shape(value.shape)} in both models")
            yield name, value, np.asarray(outputs[name])

    def _aimed(self, outputs: Feeds, target: Array) -> tuple[str, Array, Array]:
        """The one output that is like the target, by name or else by shape."""
        if target.dtype.kind not in "fiuV" or not np.isfinite(target).all():
            raise BadData(f"{self.metric}: '{self.target}' holds what is no finite number")
        shapes = {target.shape, target.shape[1:]} if len(target) == 1 else {target.shape}  # or one sample fed whole
        found = {name: value for name, value in _tensors(outputs) if value.shape in shapes}
        if self.target in found:
            found = {self.target: found[self.target]}
        if len(found) != 1:
            what = "several outputs have" if found else "no output has"
            raise BadData(
                f"{self.metric}: {what} the shape {show_shape(target.shape)} of '{self.target}'; there are "
                f"{_shapes(outputs)}; give module:function to judge them"
            )
        ((name, value),) = found.items()
        return name, target.reshape(value.shape), value


class Snr:
    """10 log10(sum r^2 / sum (r - a)^2) over all samples, dB."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def add(self, expected: Array, actual: Array, samples: int = 1) -> None:
        """As `Figure`."""
        one = expected.astype(np.float64)
        self.signal += float(np.sum(np.square(one)))
        self.noise += float(np.sum(np.square(one - actual.astype(np.float64))))

    @property
    def value(self) -> float:
        """In dB; infinite where nothing differs."""
        if self.noise == 0.0:
            return math.inf
        return 10.0 * math.log10(self.signal / self.noise) if self.signal else -math.inf


class Psnr:
    """The mean over the samples of `metrics.psnr`, dB."""

    def __init__(self, peak: float) -> None:
        self.peak, self.total, self.seen = peak, 0.0, 0

    def add(self, expected: Array, actual: Array, samples: int) -> None:
        """As `Figure`."""
        highest = float(np.max(np.abs(expected.astype(np.float64)), initial=0.0))
        if highest > _OVER * self.peak:
            raise BadData(f"psnr: images go up to {highest:g}, over the peak of {self.peak:g}: give psnr:PEAK")
        for one, other in _each(expected, actual, samples):
            self.total += psnr(one, other, self.peak)
            self.seen += 1

    @property
    def value(self) -> float:
        """In dB."""
        return self.total / self.seen if self.seen else math.nan


class Cosine:
    """The mean over the samples of `metrics.cosine`."""

    def __init__(self) -> None:
        self.total, self.seen = 0.0, 0

    def add(self, expected: Array, actual: Array, samples: int) -> None:
        """As `Figure`."""
        for one, other in _each(expected, actual, samples):
            self.total += cosine(one, other)
            self.seen += 1

    @property
    def value(self) -> float:
        """-1 to 1."""
        return self.total / self.seen if self.seen else math.nan


def _each(expected: Array, actual: Array, samples: int) -> Iterator[tuple[Array, Array]]:
    """The two arrays, sample by sample where the first axis has them."""
    whole = samples if expected.ndim and expected.shape[0] == samples else 1
    return zip(expected.reshape(whole, -1), actual.reshape(whole, -1), strict=True)


def _scores(outputs: Feeds, samples: int, metric: str = "top1") -> Array:
    """The only output of the shape [samples, classes], but for axes of 1."""
    found = {}
    for name, value in _tensors(outputs):
        batch, *rest = value.shape if value.ndim > 1 else (1, *value.shape)
        long = [extent for extent in rest if extent != 1]
        if batch == samples and len(long) == 1 and value.dtype.kind in "fiuV":
            found[name] = value.reshape(samples, long[0]).astype(np.float64)
    if len(found) != 1:
        what = "several outputs are" if found else "no output is"
        raise BadData(
            f"{metric}: {what} [samples, classes]; there are {_shapes(outputs)}; give module:function to judge them"
        )
    return next(iter(found.values()))


def _tensors(outputs: Feeds) -> list[tuple[str, Array]]:
    return [(name, value) for name, value in outputs.items() if isinstance(value, np.ndarray)]


def _shapes(outputs: Feeds) -> str:
    return ", ".join(f"'{name}' {show_shape(value.shape)}" for name, value in _tensors(outputs)) or "no tensors"
