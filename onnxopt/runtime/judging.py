"""Many models beside the one that they were made of: the same samples for each, and what may be lost."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np

from onnxopt.data import DataSet, Feeds
from onnxopt.data.scores import Called, Near, Snr
from onnxopt.data.scoring import Metric
from onnxopt.errors import BadData, BadOption
from onnxopt.runtime.evaluation import Accuracy, Subject, broken_output, comparable, require_limit
from onnxopt.runtime.session import NotRunnable

_DROPS = {"top1": 0.2, "agreement": 0.5, "snr": 0.15, "psnr": 0.15, "cosine": 0.001}
"""What may be lost where the user does not say, in the unit of the metric."""
_MOST = 64
"""Samples to run together, at most."""
_BYTES = 32_000_000
"""Of what a model takes and gives for the samples that are run together."""
_HELD = 128_000_000
"""Bytes of the reference's outputs that are held; it computes the others anew for each model."""
_CLOSE = 1e-3
"""How far, of the largest value, samples together may differ from samples one by one: rounding."""


def allowed_drop(metric: Metric, asked: float | None, who: str) -> float:
    """What may be lost, in the metric's unit.

    Args:
        metric: What models are judged by.
        asked: What the user allows; None for what is usual.
        who: Asks: the name of the pass.

    Raises:
        BadOption: The metric has no usual drop, or none at all.
    """
    found = _DROPS.get(metric.name, _DROPS.get(metric.name.partition(":")[0])) if asked is None else asked
    if found is None:
        raise BadOption(f"{who}: give max-drop: how much {metric.name} may lose")
    require_limit(metric, found)
    return found


def is_good(found: Accuracy, max_drop: float) -> bool:
    """Whether a model is finite where its reference is, and loses no more than that."""
    return not found.broken and found.holds(max_drop)


class Judge:
    """Judges models beside a reference, which runs once. Memory does not grow with the samples.

    Samples are run together where the reference gives for two of them what it gives one by one, and a user's function
    does not judge.

    Args:
        reference: The model that the others are made of.
        data: Samples for it, with the arrays that the metric needs.
        metric: What to judge by.

    Raises:
        BadData: The samples do not fit, or the metric cannot judge them.
        NotRunnable: onnxruntime refuses the samples.
    """

    def __init__(self, reference: Subject, data: DataSet, metric: Metric) -> None:
        self.reference, self.data, self.metric = reference, data, metric
        self._known: dict[int, Feeds] = {}
        self._room = _HELD
        self._size = 1 if data.layout.batch or isinstance(metric.start(), Called) else self._together()

    def accuracy(self, model: Subject) -> Accuracy:
        """How a model does, which takes what the reference takes.

        Raises:
            BadData: The metric cannot judge what it gives.
            NotRunnable: onnxruntime refuses it.
        """
        metric = self.metric
        one, other, near = metric.start(), metric.start(), Near("snr", None, Snr)
        broken, done = "", 0
        for fed, extras, expected in self._batches():
            samples = self.data.layout.batch or self._samples_of(fed)
            actual = model.run(fed)
            if metric.perfect is None:
                one.add(expected, expected, extras, samples)
            other.add(actual, expected, extras, samples)
            if same := comparable(expected, actual):
                near.add(actual, same, {}, samples)
            broken = broken or broken_output(same, actual, done)
            done += samples
        figure = one.value if metric.perfect is None else metric.perfect
        return Accuracy(metric, figure, other.value, done, self.data.source, near.values, broken)

    def _batches(self) -> Iterator[tuple[Feeds, Feeds, Feeds]]:
        """What goes in, what the metric looks at beside it, and what the reference gives."""
        for index, fed in zip(count(), self.data.batches(self._size, self.metric.extras)):
            extras = {name: fed.pop(name) for name in self.metric.extras}
            expected = self._known.get(index)
            if expected is None:
                expected = self.reference.run(fed)
                taken = _bytes(expected)
                if taken <= self._room:
                    self._known[index] = expected
                    self._room -= taken
            yield fed, extras, expected

    def _samples_of(self, fed: Feeds) -> int:
        stacked = [name for name in fed if name not in self.data.layout.whole]
        return len(fed[stacked[0]]) if stacked else 1

    def _together(self) -> int:
        """How many samples to run together."""
        single = [(fed, self.reference.run(fed)) for fed in self.data.take(2).batches(1)]
        if len(single) < 2:
            return 1
        try:
            (together,) = self.data.take(2).batches(2)
            found = self.reference.run(together)
        except (BadData, NotRunnable, ValueError):  # of other sizes, or a batch of one is written into the model
            return 1
        if not all(_is_stacked([each[name] for _, each in single], value) for name, value in found.items()):
            return 1
        taken = max(1, *(_bytes(fed) + _bytes(each) for fed, each in single))
        return max(1, min(_MOST, _BYTES // taken))


def _is_stacked(single: list[Any], together: Any) -> bool:
    """Whether what two samples give together is what they give one by one, one behind the other."""
    if not all(isinstance(each, np.ndarray) and each.ndim for each in (*single, together)):
        return False
    if any(each.shape[1:] != together.shape[1:] or len(each) != 1 for each in single) or len(together) != len(single):
        return False
    apart = np.concatenate(single)
    if apart.dtype.kind not in "fV":
        return bool(np.array_equal(apart, together))
    one, other = apart.astype(np.float64), together.astype(np.float64)
    return bool(np.allclose(one, other, rtol=0, atol=_CLOSE * float(np.abs(one).max(initial=0.0)), equal_nan=True))


def _bytes(values: Feeds) -> int:
    return sum(value.nbytes for value in values.values() if isinstance(value, np.ndarray))
