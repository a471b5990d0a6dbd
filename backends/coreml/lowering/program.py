"""A MIL program of an ONNX graph, or every reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Placeholder, Program, types

from onnxopt import ir
from onnxopt.backends.coreml.encoders.affine import Affine
from onnxopt.backends.coreml.interface import Interface
from onnxopt.backends.coreml.interface.boundary import Boundary
from onnxopt.backends.coreml.lowering import families  # noqa: F401  registers what lowers each operator
from onnxopt.backends.coreml.lowering.nodes import lower_nodes
from onnxopt.backends.coreml.lowering.registry import Refused
from onnxopt.backends.coreml.lowering.values import Values, as_mil, mil_type
from onnxopt.ir.element_types import element_types
from onnxopt.pipeline.backend import Problem


@dataclass
class Lowered:
    """What became of a graph."""

    program: Program | None
    """None where something is refused."""
    problems: list[Problem] = field(default_factory=list)
    """Every node that is refused, with the reason."""
    names: dict[str, str] = field(default_factory=dict)
    """MIL's names of the inputs and outputs that are not ONNX's."""
    notes: list[str] = field(default_factory=list)
    """What is otherwise than in the ONNX model: element types and ranks of inputs and outputs, one line each."""
    affines: list[Affine] = field(default_factory=list)
    """The constants that the graph has in integers."""


def lower(graph: ir.Graph, target: Any, interface: Interface = Interface()) -> Lowered:  # noqa: B008  it is frozen
    """Lower a main graph, with its nodes in order.

    Args:
        graph: The model.
        target: The deployment target: `coremltools.target.iOS17`.
        interface: What inputs and outputs shall be.
    """
    lowering = _Lowering(graph, target, interface)
    try:
        program = lowering.program()
    except Refused as refused:
        lowering.found.problems.append(Problem(graph.name or "model", str(refused)))
        program = None
    lowering.found.notes += lowering.values.notes
    lowering.found.affines = lowering.values.affines
    lowering.found.program = None if lowering.found.problems else program
    return lowering.found


class _Lowering:
    def __init__(self, graph: ir.Graph, target: Any, interface: Interface) -> None:
        self.graph, self.target = graph, target
        self.boundary = Boundary(interface)
        self.values = Values(target, dict(element_types(graph)))
        self.found = Lowered(None)
        self._given: list[Any] = []
        """What is an output already."""

    def program(self) -> Program:
        inputs = {self.values.name_of(tensor): self._placeholder(tensor) for tensor in self.graph.inputs}
        program = Program()
        with Function(inputs, opset_version=self.target) as function:
            for tensor in self.graph.inputs:
                self._enter(tensor, function.inputs[self.values.name_of(tensor)])
            lower_nodes(self.graph, self.values, self.found.problems)
            if not self.found.problems:
                function.set_outputs([self._output(tensor) for tensor in self.graph.outputs])
        program.add_function("main", function)
        return program

    def _placeholder(self, tensor: ir.Tensor) -> Placeholder:
        if not isinstance(tensor, ir.Variable) or tensor.type not in ("tensor_type", None) or tensor.dtype is None:
            raise Refused(f"input '{tensor.name}' is no tensor of numbers")
        if tensor.shape is None:
            raise Refused(f"input '{tensor.name}' has no declared rank")
        kind = self.boundary.kind(mil_type(np.dtype(tensor.dtype), tensor.name))
        shape = self.boundary.shape(tensor) or [1]
        if any(isinstance(dim, int) and dim == 0 for dim in shape):
            raise Refused(f"input '{tensor.name}' is empty: {list(tensor.shape)}")
        if len(shape) > 5:
            raise Refused(f"input '{tensor.name}' is of rank {len(shape)}; Core ML has at most 5")
        self._note("input", tensor, kind, not tensor.shape)
        return Placeholder(shape, dtype=kind)

    def _enter(self, tensor: ir.Tensor, var: Any) -> None:
        """The input as ONNX has it."""
        assert isinstance(tensor, ir.Variable) and tensor.dtype is not None
        if tensor.dtype == np.bool_:
            var = mb.cast(x=var, dtype="bool")
        if not tensor.shape:
            var = mb.squeeze(x=var, axes=[0])
        var = self.boundary.entered(tensor.name, var, tensor.dtype)
        self.values.set(tensor, var)

    def _output(self, tensor: ir.Tensor) -> Any:
        """What a tensor is as an output of the model: floats or int32, of rank 1 at least, by its own name."""
        var = self.values.var(tensor)
        name = self.values.name_of(tensor)
        kind = var.dtype
        if not var.shape:
            var = mb.reshape(x=var, shape=[1])
        if kind not in (types.fp32, types.fp16, types.int32):
            var = mb.cast(x=var, dtype="int32")
        var = self.boundary.left(tensor.name, var)
        self._note("output", tensor, var.dtype, not self.values.of(tensor).shape)
        if var.name == name and var.op is not None and var.op.op_type != "const" and var not in self._given:
            self._given.append(var)
            return var
        return mb.identity(x=as_mil(var), name=self.values.fresh(name) if var.name == name else name)

    def _note(self, what: str, tensor: ir.Tensor, kind: Any, was_scalar: bool) -> None:
        name = self.values.name_of(tensor)
        if name != tensor.name:
            self.found.names[tensor.name] = name
            self.found.notes.append(f"{what} '{tensor.name}' is called '{name}'")
        given = self.values.dtype_of(tensor)
        if types.nptype_from_builtin(kind) != given:
            self.found.notes.append(f"{what} '{tensor.name}' is of {types.builtin_to_string(kind)}, not {given}")
        if was_scalar:
            self.found.notes.append(f"{what} '{tensor.name}' is of shape [1], not a scalar")
