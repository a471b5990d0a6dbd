"""Calibration: the ranges of a float graph's tensors, from one pass over the data."""

from __future__ import annotations

from collections.abc import Iterable

from onnxopt import ir
from onnxopt.data import DataSet
from onnxopt.errors import BadData, BadOption
from onnxopt.quantization.channels import channel_axis
from onnxopt.quantization.extremes import extremes
from onnxopt.quantization.histogram import Scratch
from onnxopt.quantization.observers import Method, Observing
from onnxopt.quantization.ranges import Ranges
from onnxopt.quantization.request import Request
from onnxopt.quantization.running import Report, batches
from onnxopt.quantization.watching import NotFinite, Watched


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
        batch: Samples to run together; None as `running.batches` has it, but one for `moving-average`, which takes a
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
    scratch = Scratch()
    watched = {name: Watched(request, observing, scratch, channels[name]) for name, request in wanted.items()}
    seen = 0
    if watched:
        stream = None
        if method == "minmax" and all(request.axis is None for request in wanted.values()):
            stream = extremes(graph, channels, data, batch=batch, report=report)
        for found in stream or batches(graph, list(watched), data, batch=batch, report=report):
            try:
                for tensor in watched.values():
                    tensor.add(found)
            except NotFinite as error:
                raise BadData(f"{data.source}: {error}") from None
            seen += found.samples
            del found  # else it would stand beside the next one
    ranges = {name: tensor.range() for name, tensor in watched.items()}
    remarks = [line for name, tensor in watched.items() for line in tensor.remarks(ranges[name])]
    return Ranges(ranges, method, seen, ir.fingerprint(graph), tuple(remarks))


def _by_tensor(requests: Iterable[Request]) -> dict[str, Request]:
    wanted: dict[str, Request] = {}
    for request in requests:
        if wanted.setdefault(request.tensor, request) != request:
            raise BadOption(f"'{request.tensor}' is asked for in two ways: {wanted[request.tensor]} and {request}")
    return wanted
