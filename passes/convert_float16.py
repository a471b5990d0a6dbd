"""`convert-float16`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.pipeline.base import Context, Pass, Preserves, describe
from onnxopt.quantization.narrow.deciding import (
    Losses,
    keep_fragile,
    keep_index_arithmetic,
    keep_matching,
    keep_quantized,
    settle_free,
)
from onnxopt.quantization.narrow.limits import Ends, Limits, observed
from onnxopt.quantization.narrow.rewriting import Rewriting
from onnxopt.quantization.narrow.units import Units

_SHOWN = 5
"""Tensors that are told; `--explain` has a line for each node."""
_ONNXRUNTIME = (None, "onnx")
"""Targets that onnxruntime runs."""
_SINCE = {"float16": 6, "bfloat16": 13}
"""The opset from which Cast takes the type, by its number."""


@dataclass(frozen=True)
class ConvertFloat16(Pass):
    """Store weights and compute in float16, half the bytes: all float32 of the main graph and of If, Loop and Scan.

    Inputs and outputs of the model stay float32, with a Cast. So do, with the reason from `--explain`: what `keep`
    says; weights that float16 cannot hold, beyond 65504 or so small that all of them are 0; with calibration data also
    activations that it cannot hold, and what computes or reads them (without, a warning says that nobody looked; values
    in bodies are not seen, which is told too); operators without float16 in their schema; generators of numbers, which
    have no kernel; Quantize/DequantizeLinear and their neighbours, so convert first and quantize then; regions and
    scales of Resize, grids, and statistics of BatchNormalization where the opset has types of their own for them (14);
    floats made of integers that become sizes or indices; sequences; other domains and calls of local functions (run
    inline-functions first).

    There are as few Casts as the nodes that compute allow: what only moves values has the type of its surroundings, a
    tensor is cast once for all its readers, and where a Cast is there already its source is read. What is in float16
    already is left, and a second run finds nothing. A weight that both types read is stored in both. Weights are
    converted one at a time as they are written.
    """

    preserves: ClassVar[Preserves] = Preserves.ACCURACY

    type: Literal["float16", "bfloat16"] = "float16"
    """bfloat16 has the range of float32 and 8 bits; it needs opset 13, and an engine that computes in it, which
    onnxruntime on a processor is not."""
    keep_io: bool = True
    """Leave the element types of the model's inputs and outputs as they are."""
    keep: tuple[str, ...] = ()
    """Patterns of nodes or operators that stay in float32: `Softmax`, `Reduce*`, `/decoder/*`; one that matches nothing
    is an error."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed.

        Raises:
            BadOption: The opset is too old, or a pattern matches nothing.
            BadData: The data do not fit.
            NotRunnable: onnxruntime does not run the model, for its activations to be seen.
        """
        units = Units(graph, self.type)
        keep_matching(graph, units, self.keep)
        keep_quantized(units)
        keep_index_arithmetic(units)
        if ctx.target in _ONNXRUNTIME:
            keep_fragile(units)
        if not any(not unit.reason and not unit.is_free for unit in units.all) and self.keep_io:
            self._tell(units, [], ctx)
            return False
        if graph.opset < (since := _SINCE[self.type]):
            raise BadOption(
                f"convert-float16: {self.type} needs opset {since} and the model has {graph.opset}; "
                f"run convert-opset{{opset={since}}} first"
            )
        limits, lost = Limits(self.type), list[str]()
        losses = Losses(units, limits, self._observed(graph, units, ctx), lost.append)
        losses.keep()
        settled = settle_free(units, not self.keep_io)
        chosen = {unit for unit in units.all if unit in settled and ctx.allow(f"becomes {self.type}", unit.node)}
        io = set() if self.keep_io else self._io(graph, units, losses, ctx)
        self._tell(units, lost, ctx)
        if not chosen and not io:
            return False
        with ir.edit(graph) as edit:
            rewriting = Rewriting(units, chosen, io, edit)
            rewriting.run()
        rewriting.finish()
        ctx.count(f"nodes in {self.type}", len({unit.node for unit in chosen}))
        ctx.count("nodes kept in float32", len({unit.node for unit in units.all if unit.reason}))
        ctx.count("Casts inserted", rewriting.casts)
        return True

    def _observed(self, graph: ir.Graph, units: Units, ctx: Context) -> Mapping[str, Ends]:
        """The ends of all activations that may become narrow."""
        if ctx.data is None:
            if self.type == "float16":
                ctx.warn("no calibration data: an activation beyond 65504 becomes infinite; --data finds those")
            return {}
        inner = [unit for unit in units.inner if not unit.reason and not unit.is_free]
        if inner:
            ctx.warn(f"{len(inner)} nodes are in bodies of If, Loop or Scan ({describe(inner[0].node)}, ...): "
                     "calibration does not see whether their values fit")  # fmt: skip
        hidden = set(units.inner)
        seen = dict.fromkeys(
            tensor.name
            for unit in units.all if unit not in hidden and not unit.reason
            for tensor in unit.tensors if isinstance(tensor, ir.Variable)
        )  # fmt: skip
        computed = {tensor.name for node in graph.nodes for tensor in node.outputs}
        fed = {spec.name for spec in ctx.data.layout.inputs}
        return observed(graph, [name for name in seen if name in computed | fed], ctx.data, ctx.report_progress)

    def _io(self, graph: ir.Graph, units: Units, losses: Losses, ctx: Context) -> set[ir.Tensor]:
        """Inputs and outputs that become narrow."""
        found: set[ir.Tensor] = set()
        for tensor in dict.fromkeys((*graph.inputs, *graph.outputs)):
            if not isinstance(tensor, ir.Variable) or not units.is_float32(tensor):
                continue
            complaint = losses.of(tensor)
            if complaint:
                ctx.warn(f"'{tensor.name}' stays float32 in the interface: it {complaint}")
            elif ctx.allow(f"'{tensor.name}' becomes {self.type}", tensor.name):
                found.add(tensor)
        return found

    def _tell(self, units: Units, lost: list[str], ctx: Context) -> None:
        for unit in units.all:
            if unit.reason:
                ctx.refuse(f"stays in float32: {unit.reason}", unit.node)
        lines = list(dict.fromkeys(lost))
        for line in lines[:_SHOWN]:
            ctx.warn(f"{line}: its nodes stay in float32")
        if len(lines) > _SHOWN:
            ctx.warn(f"... and {len(lines) - _SHOWN} more tensors that {self.type} cannot hold: --explain lists them")
        if units.foreign:
            first = describe(units.foreign[0])
            ctx.warn(f"{len(units.foreign)} nodes of other domains or local functions stay in float32 ({first}, ...)")
