"""How large results will be, before any is computed: a small file must not be able to ask for much memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
from onnx import TypeProto, helper, shape_inference

from onnxopt.folding.candidates import OF_SHAPE, Candidates
from onnxopt.folding.evaluation import Evaluation
from onnxopt.folding.facts import SMALL, Facts, static_dims
from onnxopt.folding.flattening import Imports
from onnxopt.ir import dtypes
from onnxopt.ir.node import Node
from onnxopt.ir.schema import find_schema
from onnxopt.ir.tensor import Tensor

_STRING = dtypes.to_onnx(dtypes.STRING)


class NotComputed(Exception):
    """Why a node is not computed."""


class Sizing:
    """Derives the types of all results in the order of need, computing the small values that decide over shapes.

    A node whose shape does not follow yet waits for its small inputs; all that wait are served together. A node whose
    shape depends on its data (NonZero) is computed if a bound of its size is small enough. What comes out is in
    `evaluation.facts` and `evaluation.sizes`; `settled` are the nodes of which everything is known.
    """

    def __init__(self, candidates: Candidates, evaluation: Evaluation, max_bytes: int) -> None:
        self.candidates, self.evaluation, self.max_bytes = candidates, evaluation, max_bytes
        self.facts: Facts = evaluation.facts
        self._proven = {tensor: known for tensor, known in self.facts.types.items() if static_dims(known) is not None}
        self.settled: set[Node] = set()
        self.invalid: dict[Node, str] = {}
        """Nodes that shape inference says cannot run."""
        self._measured: list[Node] = []
        self._waiting: list[Node] = []
        members = set(candidates.nodes)
        self._needs: dict[Node, int] = {}
        for node in candidates.nodes:
            made = [tensor for tensor in node.inputs if tensor.producer in members]
            self._needs[node] = 0 if self._is_answered(node) else len(made)
        self._ready = deque(node for node in candidates.nodes if self._needs[node] == 0)

    def run(self) -> None:
        """Size every candidate that can be."""
        while True:
            while self._ready:
                self._try(self._ready.popleft())
            waiting, measured = self._waiting, self._measured
            if not waiting and not measured:
                return
            self._waiting, self._measured = [], []
            wanted = [tensor for node in measured for tensor in node.outputs if tensor.name]
            wanted += [tensor for node in waiting for tensor in self._small_unknown(node)]
            self.evaluation.compute(dict.fromkeys(wanted))
            for node in measured:
                if all(self.facts.is_valued(tensor) for tensor in node.outputs if tensor.name):
                    self._settle(node)
            for node in waiting:
                if not self._small_unknown(node):
                    self._ready.append(node)

    def _is_answered(self, node: Node) -> bool:
        return node.is_op(*OF_SHAPE) and self.facts.dims(node.inputs[0]) is not None

    def _try(self, node: Node) -> None:
        try:
            if node.is_op(*OF_SHAPE):
                self._answer(node)
                return
            self._check_inputs(node)
            types = self._infer(node)
            divides = _divides_integers(node, types)
            if self._small_unknown(node) and (divides or any(static_dims(kind) is None for kind in types.values())):
                self._waiting.append(node)
                return
            if divides:
                self._check_division(node)
            sizes = {tensor: self._size(node, tensor, known) for tensor, known in types.items()}
        except NotComputed as error:
            self.candidates.refused[node] = str(error)
            return
        self.facts.types.update(types)
        self.evaluation.sizes.update(sizes)
        if all(static_dims(known) is not None for known in types.values()):
            self._settle(node)
        else:
            self._measured.append(node)

    def _settle(self, node: Node) -> None:
        self.settled.add(node)
        for tensor in node.outputs:
            for reader in tensor.outputs:
                if reader in self._needs:
                    self._needs[reader] -= 1
                    if self._needs[reader] == 0:
                        self._ready.append(reader)

    def _small_unknown(self, node: Node) -> list[Tensor]:
        """The inputs that are small, and whose values are not there yet."""
        return [
            tensor
            for tensor in node.inputs
            if tensor.name and not self.facts.is_valued(tensor) and math.prod(self.facts.dims(tensor) or ()) <= SMALL
        ]

    def _answer(self, node: Node) -> None:
        """The value of a Shape (since opset 15 with `start` and `end`, which clamp as Python's slices do) or a Size."""
        dims = self.facts.dims(node.inputs[0])
        assert dims is not None
        if node.op == "Size":
            value = np.array(math.prod(dims), np.int64)
        else:
            value = np.array(dims[node.attr("start", 0) : node.attr("end", len(dims))], np.int64)
        self.facts.put(node.outputs[0], value)
        self.evaluation.sizes[node.outputs[0]] = value.nbytes
        self._settle(node)

    def _check_inputs(self, node: Node) -> None:
        for tensor in node.inputs:
            leaf = self.facts.leaf(tensor)
            if leaf is not None and leaf.nbytes > self.max_bytes:
                raise NotComputed(f"input '{tensor.name}' takes {leaf.nbytes} bytes; max-bytes is {self.max_bytes}")

    def _check_division(self, node: Node) -> None:
        """The smallest integer divided by -1 is no integer of its type: the processor stops the program."""
        numerator, divisor = node.inputs
        if not self.facts.is_valued(divisor):
            raise NotComputed("whether it divides by zero is not known before the divisor is a constant")
        values = self.facts.read(divisor)
        if not values.all():
            raise NotComputed("it divides integers by zero")
        if values.dtype.kind == "i" and (values == -1).any():
            smallest = np.iinfo(values.dtype).min
            if not self.facts.is_valued(numerator) or (self.facts.read(numerator) == smallest).any():
                raise NotComputed("it may divide the smallest integer by -1")

    def _infer(self, node: Node) -> dict[Tensor, TypeProto]:
        scope = self.candidates.scope_of[node]
        schema = find_schema(node.op, node.domain, scope.opset_of(node.domain))
        flat = self.evaluation.flat
        given = {flat.name(tensor): tensor for tensor in node.inputs if tensor.name}
        types = {name: known for name, tensor in given.items() if (known := self.facts.type(tensor)) is not None}
        data = {name: value for name, tensor in given.items() if (value := self.facts.proto(tensor)) is not None}
        assert schema is not None
        try:
            found = shape_inference.infer_node_outputs(
                schema, flat.node(node), types, data, opset_imports=Imports.of(scope).protos(), ir_version=10
            )
        except Exception as error:  # onnx raises whatever its C++ code throws
            self.invalid[node] = " ".join(str(error).split())
            raise NotComputed(f"shape inference says that it cannot run: {self.invalid[node]}") from error
        return {
            tensor: self._proven.get(tensor) or self._completed(tensor, found.get(flat.name(tensor), TypeProto()))
            for tensor in node.outputs
            if tensor.name
        }

    def _completed(self, tensor: Tensor, known: TypeProto) -> TypeProto:
        """A type, with the dimensions that are certain where it leaves some open."""
        code = known.tensor_type.elem_type
        dims = self.facts.certain(tensor) if code and static_dims(known) is None else None
        return known if dims is None else helper.make_tensor_type_proto(code, dims)

    def _size(self, node: Node, tensor: Tensor, known: TypeProto) -> int:
        """Bytes of a result, or a bound."""
        code = known.tensor_type.elem_type
        if known.WhichOneof("value") != "tensor_type" or not code:
            raise NotComputed(f"the type of '{tensor.name}' does not follow from the inputs")
        if code == _STRING:
            raise NotComputed("the size of strings is not known before they are made")
        dims = static_dims(known)
        if dims is not None:
            nbytes = dtypes.stored_bytes(code, math.prod(dims))
        else:
            bound = _BOUNDS.get(node.op) if node.is_standard else None
            nbytes = None if bound is None else bound([self.facts.dims(each) or () for each in node.inputs])
        if nbytes is None:
            raise NotComputed(f"the size of '{tensor.name}' is not known before it is computed")
        if nbytes > self.max_bytes:
            at_most = "" if dims is not None else "up to "
            raise NotComputed(f"'{tensor.name}' takes {at_most}{nbytes} bytes; max-bytes is {self.max_bytes}")
        return nbytes


def _divides_integers(node: Node, types: Mapping[Tensor, TypeProto]) -> bool:
    codes = [known.tensor_type.elem_type for known in types.values()]
    return node.is_op("Div", "Mod") and len(node.inputs) == 2 and all(_is_integer(code) for code in codes)


def _is_integer(code: int) -> bool:
    dtype = dtypes.to_numpy(code)
    return dtype is not None and dtype.kind in "iu"


Bound = Callable[[list[tuple[int, ...]]], int]


def _of_boxes(dims: list[tuple[int, ...]]) -> int:
    """NonMaxSuppression: three indices for each box [batch, boxes, 4] and class [batch, classes, boxes]."""
    return 3 * 8 * math.prod(dims[1])


_BOUNDS: dict[str, Bound] = {
    "NonZero": lambda dims: 8 * max(len(dims[0]), 1) * math.prod(dims[0]),
    "Compress": lambda dims: 16 * math.prod(dims[0]),
    "Unique": lambda dims: 16 * math.prod(dims[0]),
    "NonMaxSuppression": _of_boxes,
}
"""Bytes that a result of an operator takes at most, by the shapes of its inputs; no element type is wider than 16."""
