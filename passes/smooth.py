"""`smooth`: what is hard to quantize in the data of products goes into their weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.ir.edit import Edit
from onnxopt.ir.proven import ProvenShapes
from onnxopt.linear.match import constant_of, is_float
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.quantization.scaling.regions import Regions
from onnxopt.quantization.scaling.scale import scale_regions

_NORMALIZATIONS = ("LayerNormalization", "RMSNormalization")


@dataclass(frozen=True)
class Smooth(Pass):
    """Scale the channels between a normalization and the products behind it, before `quantize`.

    SmoothQuant (Xiao et al. 2022): a few channels of what a normalization gives out are much larger than the others.
    They are divided by s_i in the scale and bias of the LayerNormalization, RMSNormalization or Mul by a constant
    vector, and the rows of all MatMul and Gemm weights that read them multiplied by s_i; nothing changes in float but
    rounding. How far is decided as `equalize` does, on the calibration data, which are streamed once.

    Main graph only. Left alone, with a reason: a normalization whose output goes elsewhere too (a residual Add behind
    it, a graph output), scales that are no constant vector over the last axis. A second run goes on from where the
    first one ended, in ever smaller steps.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES
    needs: ClassVar[tuple[str, ...]] = (*_NORMALIZATIONS, "Mul")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Find the normalizations, look at the data once, scale.

        Raises:
            BadOption: There are no calibration data, and something to scale.
            BadData: They do not fit, or a tensor is NaN or infinite.
        """
        setting = Setting(ctx.analysis(ProvenShapes, graph), ctx.dialect)
        with ir.edit(graph) as edit:
            scale_regions(edit, Regions(edit, setting, lambda node: _channels(edit, node, setting)), ctx)
        return edit.changed


def _channels(edit: Edit, node: ir.Node, setting: Setting) -> tuple[int, int] | None:
    """The axis of the channels that a normalization, or a Mul by a vector, gives out, and their number."""
    if node.is_op(*_NORMALIZATIONS):
        data, operands = node.inputs[0], [each for each in node.inputs[1:] if each.name]
        if any(edit.is_used(each) for each in node.outputs[1:] if each.name):
            return None
    elif node.is_op("Mul") and edit.main.opset >= 7:
        operands = [each for each in node.inputs if constant_of(each) is not None]
        data = next((each for each in node.inputs if each not in operands), node.inputs[0])
    else:
        return None
    vectors = [found for each in operands if (found := constant_of(each)) is not None and len(found.shape) == 1]
    if not vectors or len(vectors) != len(operands) or not all(is_float(each.dtype) for each in vectors):
        return None
    counts = {each.shape[0] for each in vectors}
    shape = setting.shape(data)
    if len(counts) != 1 or counts == {1} or shape is None or not shape or shape[-1] not in counts:
        return None  # it may be broadcast to more channels than it has
    if node.attr("axis", -1) not in (-1, len(shape) - 1):
        return None
    return (1 if len(shape) == 2 else -1), counts.pop()
