"""`legalize-qnn`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.rules.qnn.table import TABLE
from onnxopt.rules.spelling_out import spell_out


@dataclass(frozen=True)
class LegalizeQnn(Pass):
    """Say otherwise, with the same values, what Qualcomm's HTP refuses or computes wrong.

    Refused by HTP, and spelled with what it has: Acos, Acosh, Asin, Asinh, Atanh, Cosh, Sinh, Erf outside of a Gelu,
    Celu, Shrink, Softsign, Hardmax, Trilu, Det (up to 3 rows), Scatter, AffineGrid, CenterCropPad, Dropout, RNN
    (unrolled, up to 64 steps), the two losses, MeanVarianceNormalization, ReduceL1, ReduceSumSquare, ReduceLogSum,
    ReduceProd, BitwiseNot; Gemm with alpha or beta, Pad with axes or of integers that are reflected, ArgMax of the
    last, normalizations over several axes or with moments, LpNormalization by sums, second outputs that nobody reads,
    dilated pools and those of volumes, LpPool of other powers, Attention with a mask of truth values, Sum, Mean, Max
    and Min of one input, uint8 arithmetic, comparisons of uint8 and int16, Pow by integers, reductions of truth values;
    cubic, antialiased and cropped Resize. Computed wrong, or a crash: AveragePool with wide padding, with padding that
    counts on one channel, or with ceil_mode; Pad by edges; Resize with other roundings of the nearest element than
    HTP's own, or with a scale that is not the quotient of the sizes. What HTP takes and computes right stays as it is.

    Dimensions that are open are told, with the remedy, `freeze-shapes`: HTP has none. Near matches are refused for
    types other than float16 and float32, sizes or parameters that are not known before the model runs, outputs that
    cannot be had otherwise (indices of MaxPool), and in functions, whose values have no one type: `inline-functions`
    first. Works in subgraphs. To be run before `quantize`. The sign of a zero may change. A row of an Attention mask
    that is false throughout comes out of HTP's own softmax as it will: verify with data.
    """

    preserves: ClassVar[Preserves] = Preserves.VALUES

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        _tell_open_dimensions(graph, ctx)
        return spell_out(graph, TABLE, ctx)


def _tell_open_dimensions(graph: ir.Graph, ctx: Context) -> None:
    """Every dimension of an input that has no number, once, and what to do."""
    told: set[str] = set()
    for tensor in graph.inputs:
        for axis, dim in enumerate(tensor.shape or ()):
            name = dim if isinstance(dim, str) and dim else f"{tensor.name}[{axis}]"
            if not isinstance(dim, int) and name not in told:
                told.add(name)
                option = f"{name}=N" if name.isidentifier() else f"dims={name}:N"
                ctx.refuse(f"HTP takes fixed sizes alone: freeze-shapes{{{option}}} first", f"dimension {name}")
    if told and ctx.target == "qnn":
        ctx.warn(f"HTP takes fixed sizes alone, and open are {', '.join(sorted(told))}: run freeze-shapes first")
