"""Activations of a float graph, streamed: one batch at a time is in memory, whatever the number of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt import ir
from onnxopt.activations.tap_session import TapSession
from onnxopt.activations.tapping import tapped
from onnxopt.activations.together import Outline, agree
from onnxopt.data import DataSet, Feeds
from onnxopt.errors import BadOption
from onnxopt.runtime.session import NotRunnable

Array = npt.NDArray[Any]
Report = Callable[[str, int, int], None]
"""Called as (what, done, total); a total of 0 is not known."""

WHAT = "samples"
"""What progress counts."""
_BYTES = 48_000_000
"""Of all tapped tensors of one batch. Fewer samples at a time cost Python's share of the time more often: on ppocr_cls
(518 tensors, 14 MB a sample) one at a time takes 1.8 times the processor time that four take, and eight take more."""
_MOST = 64
"""Samples at a time, however small they are."""


@dataclass(frozen=True)
class Batch:
    """What some samples made of the tensors that were asked for."""

    first: int
    """The number of the first sample, from 0."""
    samples: int
    values: Mapping[str, Array]
    """By name, of shape and dtype as the graph computes them; read-only."""


def stream(
    graph: ir.Graph,
    names: Sequence[str],
    data: DataSet,
    *,
    batch: int | None = None,
    report: Report | None = None,
    optimize: bool = True,
) -> Iterator[Mapping[str, Array]]:
    """The values of the tensors `names` of the main graph, batch after batch, by name; as `batches`."""
    for found in batches(graph, names, data, batch=batch, report=report, optimize=optimize):
        yield found.values


def batches(
    graph: ir.Graph,
    names: Sequence[str],
    data: DataSet,
    *,
    batch: int | None = None,
    report: Report | None = None,
    optimize: bool = True,
) -> Iterator[Batch]:
    """Run the graph over the data once.

    Args:
        graph: A main graph; it is left as it is, and may be edited once the first batch is there.
        names: Inputs of the graph, or tensors that nodes of the main graph compute.
        data: Samples for its inputs.
        batch: How many samples to run together, where the model leaves that open; None for as many as take
            little memory, and one at a time for a model that mixes the samples of a batch.
        report: Told how many samples are done.
        optimize: Let onnxruntime rewrite what lies between the tensors. Their values are the same but for rounding, and
            it takes half the time.

    Raises:
        BadOption: There is no such tensor, or it is no tensor of numbers.
        BadData: A sample does not fit.
        NotRunnable: onnxruntime does not take the model or the samples.
    """
    fed = {tensor.name for tensor in graph.inputs} & {spec.name for spec in data.layout.inputs}
    inner = [name for name in dict.fromkeys(names) if name not in fed]
    with tapped(graph, inner) as model:  # all threads: calibration is alone on the machine
        session = TapSession(model, optimize=optimize)
        del model
    size = batch or _batch_size(session, inner, data)
    done, total = 0, data.length or 0
    for feeds in data.batches(size):
        count = samples_in(feeds, data)
        values = session.views(feeds, inner)
        found = {name: _array(name, feeds[name] if name in fed else values[name]) for name in names}
        del values
        yield Batch(done, count, found)
        del found
        done += count
        if report is not None:
            report(WHAT, done, total)


def samples_in(feeds: Feeds, data: DataSet) -> int:
    """How many samples were stacked; one where they are fed whole."""
    stacked = [name for name in feeds if name not in data.layout.whole]
    return len(feeds[stacked[0]]) if stacked else 1


def _array(name: str, value: Any) -> Array:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiubV":  # V: ml_dtypes
        raise BadOption(f"'{name}' is no tensor of numbers: it cannot be observed")
    return value


def _batch_size(session: TapSession, names: Sequence[str], data: DataSet) -> int:
    """How many samples to run together."""
    if data.layout.batch is not None or not names:
        return data.layout.batch or _MOST
    first = session.views(next(data.take(1).batches(1)), names)
    taken = max(1, sum(np.asarray(value).nbytes for value in first.values()))
    del first
    size = max(1, min(_MOST, _BYTES // taken))
    return size if size > 1 and _are_independent(session, names, data) else 1


def _are_independent(session: TapSession, names: Sequence[str], data: DataSet) -> bool:
    """Whether two samples run together give what they give one by one.

    Not where a batch of one is written into the graph, in the shape of a Reshape, say.
    """
    single = [session.run(feeds, names) for feeds in data.take(2).batches(1)]
    if len(single) < 2:
        return False
    try:
        together = session.run(next(data.take(2).batches(2)), names)
    except NotRunnable:
        return False
    return all(agree([_outline(one[name]) for one in single], _outline(together[name])) for name in names)


def _outline(value: Any) -> Outline:
    array = np.asarray(value)
    if not array.size or array.dtype.kind not in "fiub":
        return Outline(array.size, 0.0, 0.0)
    return Outline(array.size, float(array.min()), float(array.max()))
