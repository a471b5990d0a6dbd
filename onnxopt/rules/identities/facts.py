"""What the rules of `eliminate-identities` have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onnxopt import ir
from onnxopt.ir import dtypes
from onnxopt.ir.proven import ProvenShapes, Shape
from onnxopt.ir.purity import Purity

Verdict = int | ir.Tensor | str | None
"""Which input, or other tensor, comes out unchanged; or why that is not certain of a near match; or None where it
plainly does not."""


@dataclass(frozen=True)
class Facts:
    """What a rule may ask about the surroundings of a node."""

    edit: ir.Edit
    shapes: ProvenShapes
    purity: Purity
    opset: int
    typed: bool
    """Whether declared element types hold: in a function they are those of one of its calls."""

    def dtype(self, tensor: ir.Tensor) -> dtypes.DType | None:
        """The element type of a tensor, where it is certain: a runtime refuses a model that declares a wrong one."""
        if self.typed or isinstance(tensor, ir.Constant):
            return tensor.dtype if isinstance(tensor, ir.Constant) or tensor.type == "tensor_type" else None
        return None

    def is_float(self, tensor: ir.Tensor) -> bool:
        """Whether a tensor certainly holds floating-point numbers."""
        dtype = self.dtype(tensor)
        return dtype is not None and (dtype.kind == "f" or "float" in dtype.name)

    def is_integer(self, tensor: ir.Tensor) -> bool:
        """Whether a tensor certainly holds integers or truth values."""
        dtype = self.dtype(tensor)
        return dtype is not None and dtype.kind in "iub"

    def knows(self, node: ir.Node) -> bool:
        """Whether a node is one of the standard operator of its name, with an input and an output."""
        return node.is_standard and bool(node.inputs and node.outputs) and self.purity.called(node) is None

    def keeps_shape(self, node: ir.Node, index: int = 0) -> bool:
        """Whether the output certainly has the shape of this input."""
        dims = self.shapes.dims(node.inputs[index])
        return dims is not None and dims == self.shapes.dims(node.outputs[0])


Rule = Callable[[ir.Node, Facts], Verdict]


def kept_by(node: ir.Node, facts: Facts, index: int, other: Shape) -> Verdict:
    """`index`, if broadcasting that input with a tensor of shape `other` leaves its shape as it is."""
    if not other or facts.keeps_shape(node, index):
        return index
    shape = facts.shapes.shape(node.inputs[index])
    if shape is None:
        return not_proven(node, index)
    if len(other) > len(shape):
        return None
    pairs = list(zip(shape[len(shape) - len(other) :], other, strict=True))
    if all(wanted in (1, dim) for dim, wanted in pairs):
        return index
    return not_proven(node, index) if any(dim is None and wanted != 1 for dim, wanted in pairs) else None


def not_proven(node: ir.Node, index: int = 0) -> str:
    """Why a rule cannot decide: what is missing is the shape of this input."""
    return f"the shape of '{node.inputs[index].name}' is not certain"
