"""How a target likes a computation to be spelled: data that passes ask before they choose between two spellings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Composite: TypeAlias = Literal[
    "Gelu",
    "Gemm",
    "GemmOfRows",
    "GlobalAveragePool",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "InstanceNormalization",
    "LayerNormalization",
    "LpNormalization",
    "Mish",
    "RMSNormalization",
    "Softmax",
    "Softplus",
    "Swish",
]
"""Operators that exporters also spell out in simpler ones. `GemmOfRows`: a Gemm between Reshapes, for MatMul and Add of
data of rank 3 and more."""

ACCELERATED: tuple[Composite, ...] = (
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "InstanceNormalization",
    "LayerNormalization",
    "LpNormalization",
    "Softmax",
    "Softplus",
)
"""Those that every accelerator here computes as one."""

Spelling: TypeAlias = Literal["attention", "bias-gelu", "gelu", "matmul-add", "scaled-product"]
"""Groups of nodes that an engine finds and computes as one.

`attention`: MatMul, scale, mask, Softmax, MatMul with the Reshapes and Transposes of the heads; `gelu`: Gelu by Erf or
Tanh; `bias-gelu`: the same behind an Add of a vector; `matmul-add`: MatMul of rank 3 and more behind which a bias is
added; `scaled-product`: MatMul with a scale of one number before or behind it.
"""


@dataclass(frozen=True)
class Dialect:
    """The preferences of one target."""

    composites: tuple[Composite, ...] = ()
    fused: tuple[Spelling, ...] = ()

    def takes(self, op: Composite) -> bool:
        """Whether the target likes this operator as one node, where the model's opset has it."""
        return op in self.composites

    def keeps(self, spelling: Spelling) -> bool:
        """Whether the target's engine finds this spelling by itself, so that passes leave it as it is."""
        return spelling in self.fused


ONNXRUNTIME = Dialect(
    (
        "Gelu",
        "Gemm",
        "GemmOfRows",
        "HardSigmoid",
        "HardSwish",
        "InstanceNormalization",
        "LayerNormalization",
        "LpNormalization",
        "Mish",
        "RMSNormalization",
        "Softmax",
    ),
    ("attention", "bias-gelu", "gelu", "matmul-add", "scaled-product"),
)
"""What onnxruntime fuses stays as it is; also what a graph for no target in particular is spelled in.

Left out, measured with onnxruntime 1.31 on a CPU: Swish, which takes 2.6 times as long as its own QuickGelu;
GroupNormalization, of which it makes 29 nodes; Softplus, 5.8 times Log(1 + Exp); GlobalAveragePool, up to 1.35 times
ReduceMean.
"""
