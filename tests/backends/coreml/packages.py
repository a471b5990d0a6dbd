"""Small models, and packages of them written and read back in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from onnxopt import ir

Array = npt.NDArray[Any]


def model(
    nodes: list[onnx.NodeProto], inputs: dict[str, Any], outputs: dict[str, Any], opset: int = 21, **constants: Array
) -> onnx.ModelProto:
    """A model of float inputs and outputs, by name and shape; constants may be TensorProtos too."""
    inputs_, outputs_ = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in each.items()]
        for each in (inputs, outputs)
    )
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs_, outputs_, tensors)
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(found)
    return found


def run(given: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    """What onnxruntime makes of it, nothing rewritten."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return list(onnxruntime.InferenceSession(given.SerializeToString(), options).run(None, feeds))


class Package:
    """A package that was written of a model, and read back."""

    def __init__(self, given: onnx.ModelProto, path: Path, target: str, precision: str, **interface: Any) -> None:
        import coremltools as ct

        from onnxopt.backends.coreml.compiling import Asked
        from onnxopt.backends.coreml.interface import Interface
        from onnxopt.backends.coreml.lowering.program import lower
        from onnxopt.backends.coreml.package import write_package

        asked = Asked(target, precision, Interface(**interface))
        self.lowered = lower(ir.from_proto(given), getattr(ct.target, target), asked.interface)
        assert not self.lowered.problems, self.lowered.problems
        self.operations, self.storing = write_package(self.lowered, asked, path)
        self.path = path
        self.spec = ct.utils.load_spec(str(path))

    @property
    def weight_bytes(self) -> int:
        """Of the weight file."""
        return sum(file.stat().st_size for file in self.path.rglob("weight.bin"))

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """What its program computes."""
        from onnxopt.backends.coreml.evaluator import load

        return dict(load(self.path).run(feeds))


def refusals(given: onnx.ModelProto, target: str = "iOS17") -> list[str]:
    """Why a model cannot be lowered."""
    import coremltools as ct

    from onnxopt.backends.coreml.lowering.program import lower

    return [f"{each.node}: {each.reason}" for each in lower(ir.from_proto(given), getattr(ct.target, target)).problems]
