"""`calibrate`: between which values the tensors lie that will be quantized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pipeline.quantization import IntegerName
from onnxopt.pipeline.target import quantization_rules
from onnxopt.quantization.collecting import collect
from onnxopt.quantization.observers import Method, Observing
from onnxopt.quantization.plan import Choices, plan
from onnxopt.quantization.range_file import load_ranges
from onnxopt.quantization.ranges import Ranges
from onnxopt.quantization.request import Request

_SHOWN = 5
"""Remarks that are told; all of them are in the file that --save-ranges writes."""


@dataclass(frozen=True)
class Calibrate(Pass):
    """Run the model over the calibration data and find the range of every tensor that the target wants quantized.

    The graph stays as it is: `quantize`, right after it, takes the ranges. The data are streamed once, whatever the
    method, and memory does not grow with the number of samples. Constant tensors, channels that are always 0, masks and
    what saturates are told by name; NaN and infinity are an error. Only tensors of the main graph are looked at, as
    only they are quantized.

    `onnxopt run --save-ranges r.json` keeps the ranges, and `calibrate{ranges=r.json}` reads them again for the very
    same graph.
    """

    preserves: ClassVar[Preserves] = Preserves.BITS

    method: Method = "minmax"
    """minmax: all that was seen; moving-average: of the ends of each batch; percentile: all but a fixed share; entropy:
    where clipping loses least information; mse: where the squared error of quantization is smallest. moving-average
    clips about half the batches by its nature, which models feel whose outputs are judged value by value."""
    percentile: float = 99.99
    """Of the values that `method=percentile` keeps."""
    momentum: float = 0.9
    """Of the average of `method=moving-average`: what share stays at each step."""
    samples: int | None = None
    """How many samples to take at most; none: all."""
    batch: int | None = None
    """Samples to run together; none: as many as take little memory, and one for `method=moving-average`."""
    activations: IntegerName | None = None
    """What activations will become, which decides where `entropy` and `mse` clip; none: what the target has them as."""
    ranges: str | None = None
    """A file to read the ranges from, instead of calibrating."""

    def __post_init__(self) -> None:
        try:
            Observing(self.method, self.percentile, self.momentum)
        except BadOption as error:
            raise ValueError(str(error)) from None
        for name in ("samples", "batch"):
            if (given := getattr(self, name)) is not None and given < 1:
                raise ValueError(f"{name} is {given}: give at least 1")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Calibrate, or read the file; nothing changes.

        Raises:
            BadOption: There are no calibration data.
            BadData: The data do not fit, an activation is NaN or infinite, or the file of ranges is none for the graph.
        """
        choices = Choices(self.activations)
        requests = plan(graph, quantization_rules(ctx.target), choices, Context(ctx.target)).requests
        found = self._collected(graph, requests, ctx) if self.ranges is None else self._read(graph, requests)
        if not requests:
            ctx.warn("nothing in the main graph is to be quantized, so nothing was calibrated")
        for remark in found.remarks[:_SHOWN]:
            ctx.warn(remark)
        if len(found.remarks) > _SHOWN:
            ctx.warn(f"... and {len(found.remarks) - _SHOWN} more remarks: --save-ranges writes all")
        ctx.count("tensors calibrated", len(found.by_name))
        ctx.count("samples", found.samples)
        ctx.keep(found)
        return False

    def _collected(self, graph: ir.Graph, requests: list[Request], ctx: Context) -> Ranges:
        if ctx.data is None:
            raise BadOption("calibrate needs calibration data: give --data")
        return collect(
            graph,
            requests,
            ctx.data,
            method=self.method,
            percentile=self.percentile,
            momentum=self.momentum,
            batch=self.batch,
            samples=self.samples,
            report=ctx.report_progress,
        )

    def _read(self, graph: ir.Graph, requests: list[Request]) -> Ranges:
        path = Path(str(self.ranges))
        found = load_ranges(path, ir.fingerprint(graph))
        missing = [request.tensor for request in requests if request.tensor not in found.by_name]
        if missing:
            more = f" and {len(missing) - 1} more" if missing[1:] else ""
            raise BadOption(
                f"{path} has no range for '{missing[0]}'{more}: it was calibrated for another target; calibrate again"
            )
        return found
