"""Which operators are said otherwise for Core ML, and how: those that the lowering has no function for."""

from __future__ import annotations

from collections.abc import Mapping

from onnxopt.rules.spelling_out import Spelling, definitions, grids

_DEFINED = Spelling("written as ONNX defines it", definitions.by_definition)

TABLE: Mapping[str, tuple[Spelling, ...]] = {
    "AffineGrid": (Spelling("spelled as a MatMul", grids.affine_grid),),
    **dict.fromkeys(
        (
            "Attention",
            "BlackmanWindow",
            "CausalConvWithState",
            "HammingWindow",
            "HannWindow",
            "NegativeLogLikelihoodLoss",
            "RotaryEmbedding",
            "SoftmaxCrossEntropyLoss",
            "SwiGLU",
        ),
        (_DEFINED,),
    ),
}
