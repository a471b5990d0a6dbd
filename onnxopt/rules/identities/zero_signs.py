"""Where it can be seen whether a zero is 0.0 or -0.0.

The two are equal, and nearly every operator makes of the one at most the other zero of what it makes of the other. Only
where something is divided by them, or they are raised to a negative power, do they become +inf and -inf.
"""

from __future__ import annotations

from onnx import TensorProto

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.purity import Purity

_BLIND = frozenset((
    "Abs", "And", "Cos", "Cosh", "Equal", "Exp", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less",
    "LessOrEqual", "Log", "LogSoftmax", "Not", "Or", "QuantizeLinear", "ReduceL1", "ReduceL2", "ReduceLogSumExp",
    "ReduceSumSquare", "Shape", "Sigmoid", "Size", "Softmax", "Softplus", "Xor",
))  # fmt: skip
"""Give the same for both."""
_PASSING = frozenset((
    "Add", "AveragePool", "Ceil", "Celu", "Clip", "Concat", "Conv", "ConvTranspose", "DepthToSpace", "Dropout",
    "Elu", "Erf", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm",
    "GlobalAveragePool", "GlobalMaxPool", "GroupNormalization", "HardSigmoid", "HardSwish", "Identity",
    "InstanceNormalization", "LayerNormalization", "LeakyRelu", "LpNormalization", "MatMul", "Max", "MaxPool",
    "Mean", "Min", "Mish", "Mul", "Neg", "PRelu", "Pad", "RMSNormalization", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize", "Round", "Selu", "Sin", "Slice", "Softsign",
    "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Swish", "Tanh", "Tile", "Transpose", "Unsqueeze",
    "Where",
))  # fmt: skip
"""Give, at most, the other zero, and in no other place. Of a sum or a product each kernel has a zero of its own."""

_OF_FIRST = frozenset(("BatchNormalization", "Div", "Pow"))
"""The same, of their first input alone: they divide by another one, or raise to it."""


class ZeroSigns:
    """What happens to the sign of a zero behind each tensor of the main graph.

    An output of the model may have either zero: they are equal. Where a tensor goes into a subgraph, into a function,
    or into an operator that is not known here, its zeros count as seen.
    """

    def __init__(self, graph: ir.Graph) -> None:
        purity, inside = Purity(graph), set(graph.nodes)
        self._seen: set[ir.Tensor] = set()
        for node in reversed(graph.nodes):  # sorted: what reads a tensor stands behind what makes it
            self._seen.update(out for out in node.outputs if any(reader not in inside for reader in out.outputs))
            passes = node.is_standard and purity.called(node) is None and self._passes(node)
            self._seen.update(t for index, t in enumerate(node.inputs) if index not in _through(node, passes))

    def seen(self, tensor: ir.Tensor) -> bool:
        """Whether it may make a difference which zero this tensor holds."""
        return tensor in self._seen

    def _passes(self, node: ir.Node) -> bool:
        if node.op in _BLIND:
            return True
        return _gives_zeros(node) and not any(out in self._seen for out in node.outputs)


def _gives_zeros(node: ir.Node) -> bool:
    if node.op == "Cast":
        return bool(node.attr("to") != TensorProto.STRING)  # which spells the sign out
    if node.op == "Pow":
        exponent = known_value(node.inputs[1])
        return exponent is not None and bool((exponent >= 0).all())
    return node.op in _PASSING or node.op in _OF_FIRST


def _through(node: ir.Node, passes: bool) -> range:
    """The inputs whose zeros may be of either sign."""
    if not passes:
        return range(0)
    return range(1) if node.op in _OF_FIRST else range(len(node.inputs))
