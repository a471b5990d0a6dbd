"""How accurate a model is beside the one that it was made of, on samples that stream past."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from onnxopt import ir
from onnxopt.data import DataSet, Feeds, ValueSpec
from onnxopt.data.scores import Near, Snr
from onnxopt.data.scoring import Metric
from onnxopt.errors import BadModel, BadOption
from onnxopt.runtime.executable import executable, header_of
from onnxopt.runtime.nondeterminism import nondeterministic_outputs
from onnxopt.runtime.session import NotRunnable, Session
from onnxopt.runtime.simulated_session import SimulatedSession

Report = Callable[[str, int, int], None]
"""Called as (what, done, total); a total of 0 is not known."""

WHAT = "samples judged"
_ROUNDING = 1e-12
"""98.6 - 98.4 is a little over 0.2 in floating point."""


@dataclass(frozen=True)
class Accuracy:
    """How two models did on the same samples."""

    metric: Metric
    reference: float
    """Of the reference model, in the metric's unit; the best there is, where its own outputs are the measure."""
    model: float
    samples: int
    source: str
    """Where the samples come from."""
    outputs: Mapping[str, float]
    """By floating-point output: the signal-to-noise ratio to the reference's over all samples, dB."""
    broken: str = ""
    """The output that is first NaN or infinite where the reference's is finite, and in which sample."""

    @property
    def drop(self) -> float:
        """What was lost, in the metric's unit; negative for a gain, NaN where it cannot be told."""
        return 0.0 if self.reference == self.model else self.reference - self.model

    def holds(self, most: float) -> bool:
        """Whether no more than `most` was lost; not where that cannot be told."""
        return self.drop <= most + _ROUNDING * abs(self.reference)

    def fault(self, name: str, most: float | None = None) -> str:
        """Why the model of that name is not good enough, in one line; empty where it is.

        It has to be finite where the reference is, and to lose no more than `most`, where that is given.
        """
        show = self.metric.show
        if self.broken:
            return f"{name}: {self.broken}, where the reference is finite"
        if most is None or self.holds(most):
            return ""
        lost = f"drops from {show(self.reference)} to {show(self.model)}, by {show(self.drop)}"
        return f"{name}: {self.metric.name} {lost}, and {show(most)} is allowed"


def require_limit(metric: Metric, most: float) -> None:
    """Refuse a drop that says nothing.

    Raises:
        BadOption: It is no number, or the reference scores infinity.
    """
    if not (math.isfinite(most) and most >= 0):
        raise BadOption(f"a drop of {most} cannot be allowed: give 0 or a positive number")
    if metric.perfect == math.inf:
        raise BadOption(
            f"a drop of {metric.name} needs a target in the data: name its array as the labels, or take the metric "
            "cosine, of which a drop of 0.001 is about 27 dB"
        )


class Subject:
    """A model that is judged, in onnxruntime with its optimizations: as it will run.

    Args:
        name: As messages call it.
        model: A model or its path.
        simulated: Another engine will run it, so nothing shall be quantized that is not written.

    Raises:
        NotRunnable: onnxruntime refuses it.
    """

    def __init__(self, name: str, model: ModelProto | Path, *, simulated: bool = False) -> None:
        self.name = name
        self.skipped = nondeterministic_outputs(header_of(model))
        """Outputs that depend on random operators."""
        try:
            self._session = SimulatedSession(model) if simulated else Session(model, optimize=True, threads=0)
        except NotRunnable as error:
            raise NotRunnable(f"{name}: {error}") from error

    @property
    def inputs(self) -> tuple[ValueSpec, ...]:
        """What it takes."""
        return self._session.inputs

    def run(self, feeds: Feeds) -> Feeds:
        """All outputs that are not random. Floats come in the width that the model takes.

        Raises:
            NotRunnable: onnxruntime refuses the inputs.
        """
        names = [spec.name for spec in self._session.outputs if spec.name not in self.skipped]
        try:
            return self._session.run(suited(feeds, self.inputs), names)
        except NotRunnable as error:
            raise NotRunnable(f"{self.name}: {error}") from error


def evaluate(
    reference: Subject, model: Subject, data: DataSet, metric: Metric, report: Report | None = None
) -> Accuracy:
    """Run both over the data once, sample by sample, and judge what they give.

    Args:
        reference: The model that the other one was made of.
        model: It takes inputs of the same names, and floats of any width.
        data: Samples for the reference, with the arrays that the metric needs.
        metric: What to judge by.
        report: Told how many samples are done.

    Raises:
        BadModel: The two do not take the same inputs.
        BadData: The samples do not fit, or the metric cannot judge them.
        NotRunnable: onnxruntime refuses one of them.
    """
    _require_same(reference, model)
    one, other = metric.start(), metric.start()
    near = Near("snr", None, Snr)
    broken, done, total = "", 0, data.length or 0
    for fed in data.batches(extras=metric.extras):
        extras = {name: fed.pop(name) for name in metric.extras}
        count = data.layout.batch or 1
        expected, actual = reference.run(fed), model.run(fed)
        if metric.perfect is None:
            one.add(expected, expected, extras, count)
        other.add(actual, expected, extras, count)
        same = comparable(expected, actual)
        if same:
            near.add(actual, same, {}, count)
        broken = broken or broken_output(same, actual, done)
        done += count
        if report is not None:
            report(WHAT, done, total)
    figure = one.value if metric.perfect is None else metric.perfect
    return Accuracy(metric, figure, other.value, done, data.source, near.values, broken)


def evaluate_graphs(
    reference: ir.Graph,
    model: ir.Graph,
    data: DataSet,
    metric: Metric,
    report: Report | None = None,
    *,
    simulated: bool = False,
) -> Accuracy:
    """As `evaluate`, for graphs: the model that went into a run, and what came out; for another engine or not."""
    with executable(reference) as one, executable(model) as other:
        finished = Subject("the finished model", other, simulated=simulated)
        return evaluate(Subject("the input model", one), finished, data, metric, report)


def is_simulated(target: str | None) -> bool:
    """Whether the models of a target are run by another engine than onnxruntime."""
    return target not in (None, "onnx")


def suited(feeds: Feeds, inputs: Sequence[ValueSpec]) -> Feeds:
    """The feeds with floats in the width that a model takes: a float16 model is judged on float32 samples."""
    found = dict(feeds)
    for spec in inputs:
        value = feeds.get(spec.name)
        if isinstance(value, np.ndarray) and spec.dtype is not None and _is_other_float(value.dtype, spec.dtype):
            found[spec.name] = value.astype(spec.dtype)
    return found


def _require_same(reference: Subject, model: Subject) -> None:
    for one, other in ((reference, model), (model, reference)):
        for spec in one.inputs:
            found = {each.name: each for each in other.inputs}.get(spec.name)
            if found is None:
                raise BadModel(f"{one.name} takes '{spec.name}' and {other.name} does not: they need the same inputs")
            if found.dtype != spec.dtype and not (
                found.dtype is not None and spec.dtype is not None and _is_other_float(found.dtype, spec.dtype)
            ):
                raise BadModel(f"'{spec.name}' is {spec} to {one.name} and {found} to {other.name}")


def _is_other_float(one: np.dtype[Any], other: np.dtype[Any]) -> bool:
    return one != other and all(dtype.kind in "fV" and dtype.itemsize > 1 for dtype in (one, other))


def comparable(expected: Feeds, actual: Feeds) -> Feeds:
    """The floating-point tensors that both models give in one shape."""
    return {
        name: value
        for name, value in expected.items()
        if isinstance(value, np.ndarray)
        and value.dtype.kind in "fV"
        and isinstance(actual.get(name), np.ndarray)
        and actual[name].shape == value.shape
    }


def broken_output(expected: Feeds, actual: Feeds, sample: int) -> str:
    """The output that holds NaN or infinity where finite numbers are expected, from sample `sample` on; or nothing."""
    for name, value in expected.items():
        if not np.isfinite(actual[name]).all(where=np.isfinite(value)):
            return f"output '{name}' holds NaN or infinity in sample {sample}"
    return ""
