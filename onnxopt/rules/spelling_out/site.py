"""A node that is to be said otherwise, and what is certain of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from onnxopt.ir.dtypes import DType
from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Function, Graph
from onnxopt.ir.known import known_value
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.pattern.attributes import value_of
from onnxopt.ir.pattern.making import Maker
from onnxopt.ir.proven import ProvenShapes, ints
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.ir.values import Array
from onnxopt.rules.spelling_out.operands import Operators

Given: TypeAlias = Tensor | Node | Array
Result: TypeAlias = Given | Sequence[Given | None]
"""What takes the place of the first output, or of each output; a node stands for its first output. None is for an
output that nobody uses."""

FLOATS = (np.dtype(np.float16), np.dtype(np.float32))


@dataclass(frozen=True)
class Spelling:
    """How an operator is said by others."""

    what: str
    """What is done, in a few words: the text of the rewrite."""
    spell: Callable[[Site], Result]
    """Makes the nodes; raises NoMatch where it cannot be done, or cannot be known to be right."""
    where: Callable[[Site], bool] | None = None
    """Whether the target wants this form of the operator said otherwise; None is always."""
    since: int = 9
    """The opset from which the operators that it makes are there; 7 at least, for numpy's broadcasting."""


class Site:
    """The node, read; `site.op.Mul(a, b)` makes a node.

    What is asked for and not known raises NoMatch, with a reason that says what is missing.
    """

    def __init__(
        self,
        node: Node,
        scope: Graph,
        edit: Edit,
        shapes: ProvenShapes,
        types: Callable[[], Mapping[Tensor, DType]],
        root: Graph,
    ) -> None:
        self.node, self.scope, self.edit = node, scope, edit
        self._shapes, self._types, self._root = shapes, types, root

    @cached_property
    def maker(self) -> Maker:
        """Makes nodes, and has those made."""
        return Maker(self.edit, self.node, self.scope)

    @cached_property
    def op(self) -> Operators:
        """Makes nodes as the opset writes them."""
        return Operators(self.maker, self.opset)

    def beside(self, node: Node) -> Site:
        """The site of another node of the same scope: what is made there counts as made here."""
        other = Site(node, self.scope, self.edit, self._shapes, self._types, self._root)
        other.__dict__["maker"] = self.maker
        return other

    @property
    def opset(self) -> int:
        """The opset of the scope."""
        return self.scope.opset

    def given(self, index: int) -> bool:
        """Whether an input is there."""
        return index < len(self.node.inputs) and bool(self.node.inputs[index].name)

    def __getitem__(self, index: int) -> Tensor:
        """An input."""
        if not self.given(index):
            raise NoMatch(f"it has no input {index}")
        tensor: Tensor = self.node.inputs[index]
        return tensor

    def used(self, index: int) -> bool:
        """Whether anybody uses an output."""
        outputs = self.node.outputs
        return index < len(outputs) and bool(outputs[index].name) and self.edit.is_used(outputs[index])

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, or the operator's default for it, or else the one given here."""
        value = value_of(self.node, name, self.opset)[0]
        return default if value is None else value

    def ints(self, index: int, name: str) -> list[int] | None:
        """Integers that older opsets give as attribute `name` and newer ones as input `index`; None if absent."""
        found = ints(self.node, index, name)
        if found is None and (name in self.node.attrs or self.given(index)):
            raise NoMatch(f"its {name} are not known before the model runs")
        return found

    def value(self, index: int) -> Array:
        """The value of an input that is a small constant."""
        found = known_value(self[index])
        if found is None:
            raise NoMatch(f"the value of '{self[index].name}' is not known before the model runs")
        return found

    def is_known(self, index: int) -> bool:
        """Whether an input is a small constant."""
        return self.given(index) and known_value(self[index]) is not None

    def dtype_or_none(self, index: int = 0) -> DType | None:
        """The element type of an input, where it is known."""
        tensor = self[index]
        found = tensor.dtype if isinstance(tensor, Constant) or not self.in_function else None
        if found is None and not self.in_function:
            found = self._types().get(tensor)
        if found is None and (value := known_value(tensor)) is not None:
            found = value.dtype
        return None if found is None else np.dtype(found)

    def dtype(self, index: int = 0) -> DType:
        """The element type of an input."""
        found = self.dtype_or_none(index)
        if found is None:
            raise NoMatch(f"the element type of '{self[index].name}' is not known{self._remedy('infer-types')}")
        return found

    def float_type(self, index: int = 0) -> DType:
        """The element type of an input, which has to be float16 or float32."""
        dtype = self.dtype(index)
        if dtype not in FLOATS:
            raise NoMatch(f"'{self[index].name}' is {dtype}, and this is for float16 and float32")
        return dtype

    def rank(self, index: int = 0) -> int:
        """The number of dimensions of an input."""
        shape = self._shapes.shape(self[index])
        if shape is None:
            raise NoMatch(f"the rank of '{self[index].name}' is not certain{self._remedy('fold-shapes')}")
        return len(shape)

    def dims(self, index: int = 0) -> tuple[int | None, ...]:
        """The shape of an input, None for what is open."""
        self.rank(index)
        shape = self._shapes.shape(self[index])
        assert shape is not None
        return shape

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an input, all of it numbers."""
        found = self.dims(index)
        for axis, dim in enumerate(found):
            if dim is None:
                raise NoMatch(f"axis {axis} of '{self[index].name}' has no fixed size{self._remedy('freeze-shapes')}")
        return tuple(dim for dim in found if dim is not None)

    def axis(self, name: str = "axis", default: int | None = None, index: int = 0) -> int:
        """An attribute that names an axis of an input, counted from the front."""
        axis, rank = self.attr(name, default), self.rank(index)
        if not -rank <= axis < max(rank, 1):
            raise NoMatch(f"'{self[index].name}' of rank {rank} has no axis {axis}")
        return int(axis) % rank if rank else 0

    def number(self, value: float, index: int = 0) -> Array:
        """A constant of rank 0, of the type of an input."""
        return np.array(value, self.dtype(index))

    @property
    def in_function(self) -> bool:
        """Whether the node is in a local function, where nothing has one type or shape."""
        return isinstance(self._root, Function)

    def _remedy(self, name: str) -> str:
        return ": inline-functions first" if self.in_function else f": {name} may help"
