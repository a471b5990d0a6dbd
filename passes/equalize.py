"""`equalize`: channels between layers get ranges that are quantized well together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.ir.proven import ProvenShapes
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.quantization.scaling.regions import Regions
from onnxopt.quantization.scaling.scale import scale_regions


@dataclass(frozen=True)
class Equalize(Pass):
    """Scale channels between layers so that one range fits them all, before `quantize`.

    Cross-layer equalization (Nagel et al. 2019): where f(s x) = s f(x), the channels that a layer gives out are divided
    by s_i and the weights of the layers that read them multiplied by s_i, and nothing changes in float but rounding.
    Here f may be all that lies between: Relu, LeakyRelu, PRelu, pools, and the Adds of a residual stream, which is
    scaled as one, with all layers that write and read it; depthwise layers are scaled on both sides.

    How far is decided on the calibration data, which are streamed once: s is where 8 bit activations, with one range a
    tensor, and 8 bit weights, with a range for each output, would make least noise in the layers behind, and half of
    that way is gone (square roots), since channels that all reach as far as the range leave no room for other data.
    What gains less than 3 % of noise is left.

    Main graph only. Zero weights stay zero; weights that other nodes share are left to those. Left alone, with a
    reason: channels that an operator reads which does not scale with them (Clip, Sigmoid, Concat, a Relu6 above all),
    graph outputs, constants added (run -O 3 before), results that are not finite. A second run goes on from where the
    first one ended, in ever smaller steps.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES
    needs: ClassVar[tuple[str, ...]] = ("Conv", "ConvTranspose", "Gemm", "MatMul")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Find the regions, look at the data once, scale.

        Raises:
            BadOption: There are no calibration data, and something to scale.
            BadData: They do not fit, or a tensor is NaN or infinite.
        """
        setting = Setting(ctx.analysis(ProvenShapes, graph), ctx.dialect)
        with ir.edit(graph) as edit:
            scale_regions(edit, Regions(edit, setting), ctx)
        return edit.changed
