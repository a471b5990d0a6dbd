"""What a node is to become: a copy that adapters write on, so that nothing is touched before all is known to work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.ir.schema import Schema, find_schema
from onnxopt.ir.tensor import Tensor
from onnxopt.ir.values import Array
from onnxopt.opsets.facts import Facts


class Refused(Exception):
    """A node cannot be converted; the text says why."""


@dataclass(frozen=True)
class Made:
    """The one output of a new node."""

    op: str
    inputs: Sequence[Source]
    attrs: dict[str, Any]
    name: str
    """What its output is called, but for a number."""


class Itself:
    """Stands for the first output of the node, in what is made of it."""


ITSELF = Itself()
Source = Tensor | Array | Made | Itself | None
"""An input: a tensor of the model, the value of a new constant, the output of a new node; None is omitted."""


class Draft:
    """A node while it is converted, one version of its operator at a time."""

    def __init__(self, node: Node, facts: Facts) -> None:
        self.node, self.facts = node, facts
        self.op = node.op
        self.attrs: dict[str, Any] = dict(node.attrs) if node.attrs else {}
        self.inputs: list[Source] = [tensor if tensor.name else None for tensor in node.inputs]
        self.outputs = len(node.outputs)
        """How many of its outputs are kept."""
        self.result: Made | None = None
        """What takes the place of its first output."""

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to write."""
        node = self.node
        return (
            self.op != node.op
            or self.outputs != len(node.outputs)
            or self.result is not None
            or len(self.inputs) != len(node.inputs)
            or any(new is not (old if old.name else None) for new, old in zip(self.inputs, node.inputs, strict=True))
            or list(self.attrs) != list(node.attrs or ())
            or any(value is not node.attrs[name] for name, value in self.attrs.items())
        )

    def given(self, index: int) -> Source:
        """An input; None where it is omitted."""
        return self.inputs[index] if index < len(self.inputs) else None

    def put(self, index: int, source: Source) -> None:
        """Let an input be something else, or be omitted."""
        self.inputs += [None] * (index + 1 - len(self.inputs))
        self.inputs[index] = source
        while self.inputs and self.inputs[-1] is None:
            self.inputs.pop()

    def value(self, index: int) -> Array | None:
        """The value of an input, where it is given and known before the model runs, and not large."""
        source = self.given(index)
        if isinstance(source, Tensor):
            return known_value(source)
        return source if isinstance(source, np.ndarray) else None

    def take(self, name: str, default: Any = None) -> Any:
        """Take off an attribute, whose value is needed.

        Raises:
            Refused: It is a reference to an attribute of the function, and so no value.
        """
        value = self.attrs.pop(name, default)
        if isinstance(value, Node.AttributeRef):
            self.refuse(f"'{name}' is an attribute of the function: inline-functions first")
        return value

    def read(self, name: str, default: Any = None) -> Any:
        """The value of an attribute that stays.

        Raises:
            Refused: As `take`.
        """
        value = self.take(name, default)
        if name in self.node.attrs or value is not default:
            self.attrs[name] = value
        return value

    def shape(self, index: int = 0) -> tuple[int | None, ...] | None:
        """The certain shape of an input; None where not even the rank is certain."""
        source = self.given(index)
        if isinstance(source, Tensor):
            return self.facts.shape(source)
        return tuple(source.shape) if isinstance(source, np.ndarray) else None

    def rank(self, index: int, why: str) -> int:
        """The rank of an input.

        Raises:
            Refused: It is not certain.
        """
        shape = self.shape(index)
        if shape is None:
            self.refuse(f"{why}, and its rank is not certain")
        return len(shape)

    def dtype(self, index: int, why: str) -> np.dtype[Any]:
        """The element type of an input.

        Raises:
            Refused: It is not known.
        """
        source = self.given(index)
        if isinstance(source, np.ndarray):
            return source.dtype
        dtype = self.facts.dtype(source) if isinstance(source, Tensor) else None
        if dtype is None:
            self.refuse(f"{why}, and its element type is not known: infer-shapes or inline-functions first")
        return dtype

    def refuse(self, reason: str) -> NoReturn:
        """Give up on this node, and so on the model."""
        raise Refused(reason)


Adapter = Callable[[Draft], None]
"""Lets a draft say by the next version of its operator what it says by this one; or raises `Refused`."""


def schema_of(op: str, opset: int, *, withdrawn: bool = False) -> Schema | None:
    """The schema of an operator of the default domain; None where the opset has it not, or no more.

    Opsets that have the same version of it give the same object.
    """
    schema = find_schema(op, "", opset)
    if schema is None or (schema.deprecated and not withdrawn):
        return None
    return find_schema(op, "", schema.since_version)
