"""The target `onnx`: an ONNX model again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxopt import ir
from onnxopt.pipeline.backend import Artifact, Backend, Problem
from onnxopt.pipeline.quantization import QuantizationRules
from onnxopt.pruning.sparse_initializers import SINCE, sparsified


@dataclass(frozen=True)
class Onnx(Backend):
    """An ONNX model, for onnxruntime or any other tool that reads ONNX."""

    external_data: bool | None = None
    """Whether weights go into a file of their own; none: where they came from one, or exceed protobuf's 2 GB."""

    sparse: bool = False
    """Whether weights become sparse initializers where that is smaller: float32 from two thirds of zeros on.
    onnxruntime reads them, and makes them dense; strict shape inference of onnx (`check_model` with `full_check`) and
    most other tools do not."""

    @classmethod
    def quantization(cls) -> QuantizationRules:
        """What onnxruntime's CPU provider makes integer kernels of, as version 1.31 was seen to.

        Conv needs a QuantizeLinear right behind it; Gemm and MatMul give out float where there is none. A product of
        two activations is left in float, which costs attention little time and much accuracy.

        Measured by benchmarks/int8_kernels.py: AveragePool of integers takes 1.4 to 3.7 times as long as a float one
        with its Q/DQ; between a DequantizeLinear and a QuantizeLinear onnxruntime makes integers of it by itself.
        MaxPool of integers is the faster one where Convs put channels last, but behind an activation in float takes 2.5
        to 5.8 times as long; onnxruntime moves a QuantizeLinear that is behind it before it, so that none may be there.
        Depthwise Convs take 16 channels at once and one by one what is left.
        """
        return QuantizationRules(
            activations=("uint8", "int8", "uint16", "int16"),
            weights=("int8", "uint8", "int4", "uint4", "int16"),
            wide="uint16",
            layers=("Conv", "Gemm", "MatMul"),
            per_channel=("Conv", "Gemm", "MatMul"),
            outputs=("Conv",),
            computed=("Add", "GlobalAveragePool", "LeakyRelu", "Mul", "Sigmoid", "Where"),
            between=("Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "Mish", "PRelu", "Softplus", "Swish", "Tanh"),
            shared=(
                "Concat",
                "DepthToSpace",
                "Expand",
                "Flatten",
                "Gather",
                "GatherElements",
                "Identity",
                "MaxPool",
                "Reshape",
                "Resize",
                "Slice",
                "Squeeze",
                "Tile",
                "Transpose",
                "Unsqueeze",
            ),
            beside=("MaxPool",),
            fused=("Clip", "Relu"),
            clipping="drop",
            products=False,
            bare=("Conv",),
            depthwise_multiple=16,
        )

    def check(self, graph: ir.Graph) -> list[Problem]:
        """Unknown operators are carried through; sparse initializers need a model that may have them."""
        if self.sparse and (graph.ir_version or SINCE) < SINCE:
            return [
                Problem("the model", f"sparse initializers need IR version {SINCE}, and it has {graph.ir_version}: "
                        "run convert-opset{opset=11} first")
            ]  # fmt: skip
        return []

    def emit(self, graph: ir.Graph, path: Path) -> Artifact:
        """Write the model, atomically."""
        facts: dict[str, Any] = {"ir_version": graph.ir_version, "opset": graph.opset}
        if self.sparse:
            graph, saved = sparsified(graph)
            facts["sparse_initializers"] = {
                "weights": len(saved),
                "bytes_saved": sum(saved.values()),
                "by_weight": saved,
            }
        ir.save(graph, path, external=self.external_data)
        return Artifact(path, facts)
