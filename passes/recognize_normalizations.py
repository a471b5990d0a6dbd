"""`recognize-normalizations`: a normalization that is spelled out becomes the operator that it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.rules.recognition import channel_norm, layer_norm
from onnxopt.rules.recognition.channel_norm import LpNorm
from onnxopt.rules.recognition.recognizer import recognize


@dataclass(frozen=True)
class RecognizeNormalizations(Pass):
    """Write normalizations that exporters spell out as the one operator that the model's opset has for them.

    LayerNormalization (opset 17) and RMSNormalization (23) over the last axes, with or without scale and bias, and out
    of the casts of half-precision exports; InstanceNormalization over two or more spatial axes; GroupNormalization
    (21) by way of Reshape and InstanceNormalization; GlobalAveragePool for the mean over all spatial axes; on request
    LpNormalization. Each only where the target likes it: onnxruntime, for one, takes GroupNormalization apart.

    Refused, with a reason: shapes that are not certain (value infos do not count, and functions have none), means over
    different axes, an epsilon that is not constant, scales and biases that vary along other axes, intermediate results
    that others read or that a graph gives out, float64; for InstanceNormalization and GlobalAveragePool images whose
    height or width is open, and so may be 0: the mean of no pixels is NaN, and runtimes fail instead. In float16 the
    operators compute in float32, so that they overflow later and lose less than the spelling. Works in every scope
    whose shapes are certain.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES

    short_vectors: bool = False
    """Recognize LpNormalization too: it differs for vectors shorter than epsilon, and for zeros where there is none."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Recognize in every scope."""
        rules = (*channel_norm.RULES, LpNorm(self.short_vectors), *layer_norm.RULES)
        changed = recognize(graph, rules, ctx)
        if changed:
            ctx.forget()
        return recognize(graph, channel_norm.POOLS, ctx) or changed
