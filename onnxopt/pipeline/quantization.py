"""Where a target wants its integers: data that the quantizing passes read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

IntegerName: TypeAlias = Literal["int4", "uint4", "int8", "uint8", "int16", "uint16"]


@dataclass(frozen=True)
class QuantizationRules:
    """Types, granularity, and which tensors get a QuantizeLinear and a DequantizeLinear.

    Operators are named as in the default domain of ONNX. Of those in none of the lists nothing is quantized on their
    account; they read dequantized values, and what they give is quantized where another operator wants it.
    """

    activations: tuple[IntegerName, ...]
    """The integer types that activations may have, the usual one first."""
    weights: tuple[IntegerName, ...]
    """The integer types that weights may have, the usual one first. Signed ones are symmetric: zero point 0."""
    layers: tuple[str, ...]
    """Operators with weights. All their inputs are quantized."""
    symmetric: bool = False
    """Whether zero has to be the integer 0 in activations too."""
    wide: IntegerName | None = None
    """What the activations of an operator become for which 8 bits are not enough."""
    per_channel: tuple[str, ...] = ()
    """Operators whose weights may have a scale for each output channel."""
    bias: Literal["int32", "float"] = "int32"
    """What the biases of layers become: int32 of the scale of the input times that of the weight, or left in float."""
    outputs: tuple[str, ...] = ()
    """Layers whose kernel gives out integers: what they compute is quantized, whoever reads it."""
    computed: tuple[str, ...] = ()
    """Other operators with an integer kernel, quantized on all inputs and outputs."""
    everywhere: bool = False
    """Whether those are quantized wherever they stand, and not only between what is quantized anyway."""
    between: tuple[str, ...] = ()
    """Operators without an integer kernel that do not keep what follows from being quantized: behind a layer they read
    dequantized values and theirs are quantized again."""
    shared: tuple[str, ...] = ()
    """Operators that give out values of their inputs: one encoding for both, where both are quantized."""
    beside: tuple[str, ...] = ()
    """Those of `shared` that are in float behind an operator of `between`, and what follows with them, unless a layer
    reads them."""
    fused: tuple[str, ...] = ()
    """Activations computed together with what is before them: nothing is quantized in between."""
    clipping: Literal["keep", "drop"] = "keep"
    """Whether a fused activation stays that clips no more than the integers behind it do by themselves."""
    bounds: Literal["computed", "encoded"] = "computed"
    """Whether a Relu or Clip has its bounds from the encoding of what it gives, which then may not be wider."""
    normalizations: tuple[str, ...] = ()
    """Those of `computed` whose weights are per tensor, and whose bias is as that of a layer."""
    residual: tuple[str, ...] = ()
    """Layers that fuse with an Add behind them: of what they add, the other branch alone is quantized."""
    products: bool = True
    """Whether products of two activations are quantized, the heart of an attention."""
    vectors: bool = True
    """Whether products of a single row are quantized: they take as long as reading the weight does."""
    first_channels: int = 0
    """A Conv upon an input of the model is left in float that has fewer input channels than this."""
    bare: tuple[str, ...] = ()
    """Operators that take weights and biases without a zero point where that is 0; for others it is written."""
    depthwise_multiple: int | None = None
    """Of what the channels of a depthwise Conv should be a multiple for its integer kernel to be fast."""
