"""The target `onnx`: an ONNX model again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnxopt import ir
from onnxopt.pipeline.backend import Artifact, Backend, Problem


@dataclass(frozen=True)
class Onnx(Backend):
    """An ONNX model, for onnxruntime or any other tool that reads ONNX."""

    external_data: bool | None = None
    """Whether weights go into a file of their own; none: where they came from one, or exceed protobuf's 2 GB."""

    def check(self, graph: ir.Graph) -> list[Problem]:
        """Nothing is refused: unknown operators are carried through."""
        return []

    def emit(self, graph: ir.Graph, path: Path) -> Artifact:
        """Write the model, atomically."""
        ir.save(graph, path, external=self.external_data)
        return Artifact(path, {"ir_version": graph.ir_version, "opset": graph.opset})
