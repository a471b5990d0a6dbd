"""Element types in the bodies of local functions, where all calls of a function agree on them."""

from __future__ import annotations

from collections import defaultdict

from onnxopt import ir
from onnxopt.ir.dtypes import DType
from onnxopt.ir.element_types import body_types
from onnxopt.ir.purity import Purity


class CalledTypes:
    """The element types that values of function bodies have in every call that the model makes."""

    def __init__(self, main: ir.Graph, purity: Purity) -> None:
        self._purity = purity
        self._calls: dict[ir.Function, list[tuple[ir.Graph, ir.Node]]] = defaultdict(list)
        self._found: dict[ir.Function, dict[ir.Variable, DType]] = {}
        for root in (main, *main.functions):
            for scope in (root, *root.subgraphs(recursive=True)):
                for node in scope.nodes:
                    called = purity.called(node)
                    if called is not None:
                        self._calls[called].append((root, node))

    def of(self, tensor: ir.Tensor, root: ir.Graph) -> DType | None:
        """The element type of a tensor in the main graph or in a function, where it is certain."""
        if isinstance(tensor, ir.Constant):
            return tensor.dtype
        if isinstance(root, ir.Function):
            return self._types(root).get(tensor)
        return tensor.dtype if tensor.type == "tensor_type" else None

    def _types(self, function: ir.Function) -> dict[ir.Variable, DType]:
        if function not in self._found:
            self._found[function] = {}  # of one that calls itself, which ONNX forbids
            self._found[function] = body_types(function, self._given(function), self._purity)
        return self._found[function]

    def _given(self, function: ir.Function) -> list[DType | None]:
        """What all calls give, by position; None where they differ, or one of them is not certain."""
        found: list[DType | None] = []
        for number, (root, call) in enumerate(self._calls[function]):
            given = [self.of(tensor, root) if tensor.name else None for tensor in call.inputs]
            given += [None] * (len(function.inputs) - len(given))
            agreed = given if number == 0 else [a if a == b else None for a, b in zip(found, given, strict=False)]
            found = agreed
        return found
