"""One node while it is lowered: what it reads, its attributes, and what it must say no to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from coremltools.converters.mil import Builder as mb

from onnxopt import ir
from onnxopt.backends.coreml.lowering.registry import Refused
from onnxopt.backends.coreml.lowering.values import Value, Values, as_mil
from onnxopt.pipeline.base import describe

Array = npt.NDArray[Any]


class Site:
    """A node, its surroundings, and a record of what was asked.

    An attribute or an input that the lowering never asks for has not been lowered: `require_all_read` refuses the node,
    so that nothing is ignored silently. Ask for everything that may be there, also where only one value can be taken
    (`only`).
    """

    def __init__(self, node: ir.Node, scope: ir.Graph, values: Values) -> None:
        self.node = node
        self.scope = scope
        self.values = values
        self.opset = scope.opset_of(node.domain or "") or 0
        self.target = values.target
        """The deployment target, as coremltools has it (`coremltools.target.iOS17`): comparable."""
        self._asked: set[str] = set()
        self._read: set[int] = set()

    @property
    def name(self) -> str:
        """For the operation that gives the first output: MIL's name of that tensor."""
        return self.values.name_of(self.node.outputs[0])

    # what it reads

    def __len__(self) -> int:
        return len(self.node.inputs)

    def has(self, index: int) -> bool:
        """Whether there is such an input."""
        return index < len(self.node.inputs) and bool(self.node.inputs[index].name)

    def value(self, index: int) -> Value:
        """An input as it is: an array where it is constant, else a Var.

        Raises:
            Refused: There is none.
        """
        if not self.has(index):
            self.refuse(f"input {index} is missing")
        self._read.add(index)
        return self.values.of(self.node.inputs[index])

    def var(self, index: int, name: str = "") -> Any:
        """An input as a Var: constants become const operations, encoded as small as the target can store them.

        Raises:
            Refused: There is none.
        """
        self.value(index)
        return self.values.var(self.node.inputs[index], name)

    def optional(self, index: int) -> Any:
        """An input as a Var; None where it is not given."""
        return self.var(index) if self.has(index) else None

    def vars(self) -> list[Any]:
        """All inputs as Vars."""
        return [self.var(index) for index in range(len(self))]

    def constant(self, index: int, what: str) -> Array:
        """An input that has to be known now.

        Raises:
            Refused: It is computed by the model.
        """
        value = self.value(index)
        if not isinstance(value, np.ndarray):
            self.refuse(f"its {what} '{self.node.inputs[index].name}' is computed by the model; it has to be constant")
        return value

    def ints(self, index: int, name: str, default: Sequence[int] | None = None) -> list[int] | None:
        """Integers that older opsets give as attribute `name` and newer ones as input `index`.

        Raises:
            Refused: The input is not constant.
        """
        given = self.attr(name)
        if given is not None:
            return [int(each) for each in np.atleast_1d(given)]
        if self.has(index):
            return [int(each) for each in self.constant(index, name).reshape(-1)]
        return None if default is None else list(default)

    def rank(self, index: int) -> int:
        """The rank of an input."""
        return len(self.shape(index))

    def shape(self, index: int) -> tuple[Any, ...]:
        """The shape of an input: numbers, or MIL's symbols where a dimension is flexible."""
        return tuple(self.value(index).shape)

    def sizes(self, index: int) -> tuple[int, ...]:
        """The shape of an input in numbers.

        Raises:
            Refused: A dimension is flexible.
        """
        shape = self.shape(index)
        if not all(isinstance(dim, (int, np.integer)) for dim in shape):
            self.refuse(f"'{self.node.inputs[index].name}' has a flexible shape {list(shape)}; it has to be fixed here")
        return tuple(int(dim) for dim in shape)

    def size(self, index: int, axis: int) -> int:
        """One dimension of an input, in numbers.

        Raises:
            Refused: It is flexible.
        """
        size = self.shape(index)[axis]
        if not isinstance(size, (int, np.integer)):
            self.refuse(f"axis {axis} of '{self.node.inputs[index].name}' is flexible; it has to be fixed here")
        return int(size)

    def dtype(self, index: int) -> np.dtype[Any]:
        """The element type that ONNX has for an input: int64 though MIL computes it in int32."""
        return self.values.dtype_of(self.node.inputs[index])

    # attributes

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        self._asked.add(name)
        return self.node.attr(name, default)

    def only(self, name: str, default: Any, *taken: Any) -> Any:
        """An attribute of which only some values can be lowered: `default`, or one of `taken`.

        Raises:
            Refused: It has another value.
        """
        value = self.attr(name, default)
        if value not in (default, *taken):
            self.refuse(f"attribute {name}={value!r} cannot be said in MIL")
        return value

    def axis(self, rank: int, default: int, name: str = "axis") -> int:
        """The attribute `axis`, counted from the front."""
        axis = int(self.attr(name, default))
        if not -rank <= axis < max(rank, 1):
            self.refuse(f"attribute {name}={axis} is beyond rank {rank}")
        return axis % max(rank, 1)

    # verdicts

    def refuse(self, reason: str) -> NoReturn:
        """This node cannot be lowered."""
        raise Refused(reason)

    def require(self, holds: bool, reason: str) -> None:
        """Refuse the node where something does not hold."""
        if not holds:
            self.refuse(reason)

    def note(self, text: str) -> None:
        """Say what is otherwise than in ONNX where nothing that the specifications promise is broken by it."""
        self.values.notes.append(f"{describe(self.node)}: {text}")

    def require_target(self, least: Any, what: str) -> None:
        """Refuse the node for targets before `least`."""
        if self.target < least:
            self.refuse(f"{what} needs target={least.name}")

    def require_all_read(self) -> None:
        """Refuse the node where it has an attribute or an input that nothing was made of."""
        for name in self.node.attrs:
            if name not in self._asked:
                self.refuse(f"attribute {name}={self.node.attrs[name]!r} cannot be said in MIL")
        for index, tensor in enumerate(self.node.inputs):
            if tensor.name and index not in self._read:
                self.refuse(f"input {index} '{tensor.name}' cannot be said in MIL")

    def cast(self, value: Value, dtype: str) -> Any:
        """A Var in another element type of MIL: `fp32`, `fp16`, `int32`, `bool`, ..."""
        return mb.cast(x=as_mil(value), dtype=dtype)
