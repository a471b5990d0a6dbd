"""`recognize-activations`: an activation function that is spelled out becomes the operator that it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.rules.recognition import hard_activations, piecewise_activations, smooth_activations, softmax
from onnxopt.rules.recognition.recognizer import recognize

RULES = (
    *piecewise_activations.RULES,
    *hard_activations.RULES,
    *smooth_activations.RULES,
    *softmax.RULES,
)


@dataclass(frozen=True)
class RecognizeActivations(Pass):
    """Write activation functions that exporters spell out as the one operator that the model's opset has for them.

    Relu, Clip, LeakyRelu, PRelu from Max, Min and Where; HardSigmoid and HardSwish (opset 14) from Clip; Sigmoid,
    Softplus, Mish (18), Swish (24) and Gelu (20; by erf and by tanh) from Exp, Tanh and Erf; Softmax and LogSoftmax
    (13) from the stable spelling. Below the opset of HardSwish, x clip(x + 3, 0, 6) / 6 becomes x HardSigmoid(x).
    Gelu, HardSigmoid, HardSwish, Mish, Softmax, Softplus and Swish only where the target likes them: onnxruntime fuses
    some spellings by itself, and takes apart operators for which it has no kernel.

    Numbers in the formulas may be off by the rounding of their own type. Refused, with a reason: intermediate results
    that others read or that a graph gives out; numbers that the caller may override or that may add an axis; types
    other than float16, float32 and, where every runtime has it, float64; bounds that cross. NaN and infinities come
    out as before; where a spelling overflows on the way and the operator does not, the operator's value is taken; the
    sign of a zero may change. Works in subgraphs and, where types can be told from the constants, in functions.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Recognize in every scope."""
        return recognize(graph, RULES, ctx)
