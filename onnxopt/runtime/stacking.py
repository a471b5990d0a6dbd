"""Samples of a model, one by one: stacked to a batch, run at once, and taken apart again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import onnxruntime as ort

from onnxopt.data.spec import Array, Feeds
from onnxopt.errors import BadData, BadModel
from onnxopt.runtime.session import Session


class Runs(Protocol):
    """What runs a batch: a `Session` of ours, an engine, ..."""

    def run(self, feeds: Feeds) -> Mapping[str, Any]:
        """Arrays by output name."""


Model: TypeAlias = "str | Path | ort.InferenceSession | Runs"


def stacked(model: Model) -> Callable[[list[Feeds]], list[Feeds]]:
    """A function of samples, which are arrays by input name without their first axis; so are its results.

    Where the model's batch is fixed, the last sample fills it up, and what comes of that is thrown away.

    Raises:
        OnnxoptError: The model cannot be loaded. From the function: BadData where samples do not agree in names or
            shapes, BadModel where an output is no batch.
    """
    run, batch = _opened(model)

    def run_all(samples: list[Feeds]) -> list[Feeds]:
        step = batch or max(1, len(samples))
        parts = [samples[start : start + step] for start in range(0, len(samples), step)]
        return [outputs for part in parts for outputs in _run_one(run, part, batch or len(part))]

    return run_all


def _run_one(run: Callable[[Feeds], Mapping[str, Any]], samples: Sequence[Feeds], batch: int) -> list[Feeds]:
    filled = [*samples, *[samples[-1]] * (batch - len(samples))]
    outputs = run({name: _stack(name, filled) for name in samples[0]})
    for name, value in outputs.items():
        if not isinstance(value, np.ndarray) or value.ndim == 0 or len(value) != batch:
            shape = list(value.shape) if isinstance(value, np.ndarray) else type(value).__name__
            raise BadModel(f"output '{name}' is {shape} for a batch of {batch}: its samples cannot be told apart")
    return [{name: value[index] for name, value in outputs.items()} for index in range(len(samples))]


def _stack(name: str, samples: Sequence[Feeds]) -> Array:
    values = [np.asarray(sample.get(name)) for sample in samples]
    if any(sample.keys() != samples[0].keys() for sample in samples):
        raise BadData(f"samples of one batch have other inputs: {sorted(samples[0])} and others")
    if other := [value for value in values if value.shape != values[0].shape or value.dtype != values[0].dtype]:
        one = f"{values[0].dtype}{list(values[0].shape)}"
        raise BadData(f"samples of one batch differ in '{name}': {one} and {other[0].dtype}{list(other[0].shape)}")
    return np.stack(values)


def _opened(model: Model) -> tuple[Callable[[Feeds], Mapping[str, Any]], int | None]:
    """What runs a batch, and how large it has to be, where that is fixed."""
    if isinstance(model, ort.InferenceSession):
        session, names = model, [output.name for output in model.get_outputs()]
        shapes = [given.shape for given in session.get_inputs()]
        return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True)), _fixed(shapes)
    found = Session(Path(model), optimize=True, threads=0) if isinstance(model, (str, Path)) else model
    specs = getattr(found, "inputs", ())
    return found.run, _fixed([spec.shape for spec in specs])


def _fixed(shapes: Sequence[Sequence[Any] | None]) -> int | None:
    """The size of the first axis of all inputs, where it is a number."""
    sizes = {shape[0] for shape in shapes if shape}
    return sizes.pop() if len(sizes) == 1 and isinstance(next(iter(sizes)), int) else None
