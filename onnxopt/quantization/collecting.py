"""Calibration: the ranges of a float graph's tensors, from one pass over the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onnxopt import ir
from onnxopt.activations.streaming import Batch, Report, batches
from onnxopt.data import DataSet
from onnxopt.errors import BadData, BadOption
from onnxopt.quantization.channels import channel_axis, silent_channels
from onnxopt.quantization.extremes import extremes
from onnxopt.quantization.histogram import Scratch
from onnxopt.quantization.observers import Method, Observing
from onnxopt.quantization.ranges import Ranges
from onnxopt.quantization.request import Request
from onnxopt.quantization.watching import NotFinite, Watched
from onnxopt.runtime.session import NotRunnable


def collect(
    graph: ir.Graph,
    requests: Iterable[Request],
    data: DataSet,
    *,
    method: Method = "minmax",
    percentile: float = 99.99,
    momentum: float = 0.9,
    batch: int | None = None,
    samples: int | None = None,
    report: Report | None = None,
) -> Ranges:
    """Run the graph over the data once and find the range of every tensor that is asked for.

    Memory does not grow with the number of samples. The graph is left as it is.

    Args:
        graph: A main graph in float.
        requests: The tensors; the same may be asked for twice, but not in two ways.
        data: Samples for the graph's inputs.
        method: `minmax`, `moving-average`, `percentile`, `entropy` or `mse`.
        percentile: Of the values that `percentile` keeps.
        momentum: Of the average of `moving-average`.
        batch: Samples to run together; None as `streaming.batches` has it, but one for `moving-average`, which takes a
            step each batch.
        samples: How many to take at most; None for all.
        report: Told how many samples are done.

    Raises:
        BadOption: There is no such tensor or observer, or a tensor is asked for in two ways.
        BadData: A sample does not fit, or an activation is NaN or infinite; the text names tensor and sample.
        NotRunnable: onnxruntime does not take the model or the samples.
    """
    observing = Observing(method, percentile, momentum)
    wanted = _by_tensor(requests)
    if samples is not None:
        data = data.take(samples)
    if batch is None and observing.sees_batches:
        batch = 1
    tensors = {tensor.name: tensor for node in graph.nodes for tensor in node.outputs}
    channels = {name: channel_axis(tensors[name]) if name in tensors else None for name in wanted}
    watch = _Watch(wanted, observing, channels)
    if wanted:
        stream = None
        if method == "minmax" and all(request.axis is None for request in wanted.values()):
            stream = extremes(graph, channels, data, batch=batch, report=report)
        try:
            watch.all(stream or batches(graph, list(wanted), data, batch=batch, report=report), data)
        except NotRunnable:  # onnxruntime has no extremes of a tensor that is empty for some sample
            if stream is None:
                raise
            watch = _Watch(wanted, observing, channels)
            watch.all(batches(graph, list(wanted), data, batch=batch, report=report), data)
    ranges = {name: tensor.range() for name, tensor in watch.tensors.items()}
    silent = {name: silent_channels(tensors[name]) for name in wanted if channels[name] is not None}
    remarks = [
        line
        for name, tensor in watch.tensors.items()
        for line in tensor.remarks(ranges[name], silent.get(name, frozenset()))
    ]
    return Ranges(ranges, method, watch.samples, ir.fingerprint(graph), tuple(remarks))


class _Watch:
    """All tensors, and how many samples passed."""

    def __init__(self, wanted: Mapping[str, Request], observing: Observing, channels: Mapping[str, int | None]) -> None:
        scratch = Scratch()
        self.tensors = {name: Watched(request, observing, scratch, channels[name]) for name, request in wanted.items()}
        self.samples = 0

    def all(self, stream: Iterable[Batch], data: DataSet) -> None:
        """See one batch after the other."""
        for found in stream:
            try:
                for tensor in self.tensors.values():
                    tensor.add(found)
            except NotFinite as error:
                raise BadData(f"{data.source}: {error}") from None
            self.samples += found.samples
            del found  # else it would stand beside the next one


def _by_tensor(requests: Iterable[Request]) -> dict[str, Request]:
    wanted: dict[str, Request] = {}
    for request in requests:
        if wanted.setdefault(request.tensor, request) != request:
            raise BadOption(f"'{request.tensor}' is asked for in two ways: {wanted[request.tensor]} and {request}")
    return wanted
