"""What models are measured on: batches of a size that was asked for, of given samples or generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import onnx

from onnxopt.data import DataSet, Feeds, ValueSpec
from onnxopt.data.spec import show_shape
from onnxopt.errors import BadModel, BadOption
from onnxopt.runtime.dimensions import names_in, unnamed
from onnxopt.runtime.evaluation import suited
from onnxopt.runtime.generated_inputs import runnable_inputs
from onnxopt.runtime.session import Session

_SETS = 4
"""Sets of inputs, where there are samples for so many: how long a model takes may depend on what it sees."""


def bench_inputs(
    models: Sequence[Path],
    sessions: Sequence[Session],
    data: DataSet | None,
    batch: int | None,
    dims: Mapping[str, int],
) -> list[list[Feeds]]:
    """For each model what to run it on: the same for all, but for one that takes other inputs than the first.

    Args:
        models: Their files.
        sessions: The same, loaded.
        data: Samples for the first, which the others must take too; generated where there are none.
        batch: How many samples at a time; one, or what the model fixes, where None.
        dims: Sizes of other symbolic dimensions, for generated inputs.

    Raises:
        BadOption: The first axis of a model's inputs is of another size, or no model has a dimension of that name.
        BadModel: A model does not take the samples.
        NotRunnable: onnxruntime accepts no generated inputs.
    """
    known = {name for session in sessions for spec in session.inputs for name in _names(spec)}
    if unknown := sorted(set(dims) - known):
        raise BadOption(f"no input has a dimension '{unknown[0]}'; there are: {', '.join(sorted(known)) or 'none'}")
    first = _sampled(models[0], data, batch) if data is not None else _generated(models[0], sessions[0], batch, dims)
    found = [first]
    for model, session in zip(models[1:], sessions[1:], strict=True):
        if all(_fits(fed, session.inputs) for fed in first):
            found.append([suited(fed, session.inputs) for fed in first])
        elif data is not None:
            takes = ", ".join(f"{spec.name} {spec}" for spec in session.inputs)
            raise BadModel(f"{model} takes {takes}, which {data.source} does not suit; {models[0]} does")
        else:
            found.append(_generated(model, session, batch, dims))
    return found


def batch_of(specs: Sequence[ValueSpec]) -> int | None:
    """The size of the first axis of a model's inputs; None where it is dynamic."""
    axes = [spec.shape[0] for spec in specs if spec.kind == "tensor" and spec.shape]
    fixed = [axis for axis in axes if isinstance(axis, int)]
    if len(fixed) < len(axes):
        return None
    return fixed[0] if fixed else 1


def shown_inputs(feeds: Feeds) -> str:
    """What a model is run on, for people: `x float32[1, 3, 224, 224]`."""
    return ", ".join(
        f"{name} {value.dtype}{show_shape(value.shape)}" if isinstance(value, np.ndarray) else name
        for name, value in feeds.items()
    )


def _sampled(model: Path, data: DataSet, batch: int | None) -> list[Feeds]:
    """Batches of samples; where there are fewer than one takes, they come again."""
    fixed = data.layout.batch
    if fixed is not None and batch not in (None, fixed):
        raise BadOption(f"--batch {batch}: {model} takes {fixed} of the samples of {data.source} at a time")
    size = fixed or batch or 1
    samples = list(islice(data.samples(), _SETS * size))
    sets = max(1, len(samples) // size)
    groups = [[samples[(number * size + place) % len(samples)] for place in range(size)] for number in range(sets)]
    return [data.layout.feeds(group) for group in groups]


def _generated(model: Path, session: Session, batch: int | None, dims: Mapping[str, int]) -> list[Feeds]:
    known = {name for spec in session.inputs for name in _names(spec)}
    chosen = _batch_dims(model, session.inputs, batch) | {name: dims[name] for name in dims if name in known}
    return runnable_inputs(onnx.load(model, load_external_data=False), session, 1, dims=chosen)


def _batch_dims(model: Path, specs: Sequence[ValueSpec], batch: int | None) -> dict[str, int]:
    """The sizes of dynamic first axes, by the names that `bind` knows them by.

    Raises:
        BadOption: There are none, and the size that was asked for is another one.
    """
    fixed = batch_of(specs)
    if fixed is not None and batch not in (None, fixed):
        spec = next((spec for spec in specs if spec.shape), None)
        which = f"input '{spec.name}' is {show_shape(spec.shape)}" if spec else "its inputs have no axes"
        raise BadOption(
            f"--batch {batch}: the first axis of {model} is static: {which}; export it with a dynamic one, or leave "
            "--batch out"
        )
    return {
        axis if isinstance(axis, str) else f"{spec.name}[0]": batch or 1
        for spec in specs
        if spec.shape and not isinstance(axis := spec.shape[0], int)
    }


def _names(spec: ValueSpec) -> set[str]:
    """What may be given a size in an input's shape."""
    named = {name for dim in spec.shape or () if isinstance(dim, str) for name in names_in(dim)}
    return named | set(unnamed(spec.name, spec.shape))


def _fits(feeds: Feeds, specs: Sequence[ValueSpec]) -> bool:
    """Whether a model takes these: the same names, and no size that it fixes otherwise; floats of any width."""
    if set(feeds) != {spec.name for spec in specs}:
        return False
    fitted = suited(feeds, specs)
    return all(_takes(spec, fitted[spec.name]) for spec in specs)


def _takes(spec: ValueSpec, value: object) -> bool:
    if spec.kind != "tensor" or not isinstance(value, np.ndarray):
        return spec.kind != "tensor"
    if spec.dtype is not None and spec.dtype != value.dtype:
        return False
    return spec.shape is None or (
        len(spec.shape) == value.ndim
        and all(not isinstance(dim, int) or dim == size for dim, size in zip(spec.shape, value.shape, strict=True))
    )
