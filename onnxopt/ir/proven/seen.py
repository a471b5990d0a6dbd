"""What a rule was shown and what it said: shown the same again, it would say the same.

A pass changes a few nodes. The sweep after it asks the rules about these, and about those whose inputs turned out
different by it; of the others it takes over what was said. Whatever a rule looks at is compared, none of it is trusted
to have stayed as it was.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from onnxopt.ir.node import PLAIN, Node
from onnxopt.ir.proven.facts import Dims, Facts, Vector, is_small_vector
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.ir.values import SharedValues, Values


class Weight(NamedTuple):
    """A constant that a node reads, or has as an attribute."""

    constant: Constant
    values: Any
    """Its values; those of a file never change."""
    shape: tuple[int, ...]
    content: bytes
    """Of an array that a rule may read, which anybody may write into; else nothing."""

    def holds(self) -> bool:
        """Whether the constant is what it was."""
        values = self.constant.__dict__.get("_values")  # it may have become a Variable
        if values is not self.values:
            return False
        return not isinstance(values, np.ndarray) or (
            values.shape == self.shape and (not self.content or values.tobytes() == self.content)
        )


class Seen(NamedTuple):
    """All that the rules of a node looked at, and their answer."""

    op: str
    domain: str | None
    opset: int
    attrs: dict[str, Any]
    inputs: list[Tensor]
    names: list[str]
    """Of the inputs: one without is omitted."""
    classes: list[type]
    """Of the inputs: the same tensor may have become a constant."""
    outputs: list[Tensor]
    dims: list[Dims | None]
    """What was certain of the inputs."""
    vectors: list[Vector | None]
    weights: list[Weight]
    asked: bool
    """Whether the answer depends on what is assumed of empty inputs."""
    shapes: list[tuple[Tensor, Dims]]
    """The answer: the dimensions of outputs."""
    elements: list[tuple[Tensor, Vector]]

    def holds(self, node: Node, facts: Facts) -> bool:
        """Whether the rules of a node would be shown the same now."""
        inputs = node.inputs
        return (
            self.inputs == inputs
            and self.op == node.op
            and self.outputs == node.outputs
            and self.attrs == node.attrs
            and self.dims == [*map(facts.shapes.get, inputs)]
            and self.vectors == [*map(facts.vectors.get, inputs)]
            and self.names == [tensor.name for tensor in inputs]
            and self.classes == [*map(type, inputs)]
            and self.domain == node.domain
            and self.opset == facts.opset
            and (not self.weights or all(weight.holds() for weight in self.weights))
        )

    def repeat(self, facts: Facts) -> None:
        """Give the answer again."""
        facts.shapes.update(self.shapes)
        if self.elements:
            facts.vectors.update(self.elements)


def remember(node: Node, facts: Facts) -> Seen | None:
    """What the rules have just been shown of a node, and said; None where that cannot be compared later on."""
    inputs = list(node.inputs)
    if facts.unread and not facts.unread.keys().isdisjoint(inputs):
        return None
    attrs: dict[str, Any] = {}
    constants = [tensor for tensor in inputs if isinstance(tensor, Constant)]
    for name, value in node.attrs.items():
        if isinstance(value, Constant):
            constants.append(value)
        elif isinstance(value, list):
            if not all(item.__class__ in PLAIN for item in value):
                return None
            value = value.copy()
        elif value.__class__ not in PLAIN:
            return None
        attrs[name] = value
    weights = [_weight(constant) for constant in constants]
    if None in weights:
        return None
    outputs = list(node.outputs)
    return Seen(
        node.op,
        node.domain,
        facts.opset,
        attrs,
        inputs,
        [tensor.name for tensor in inputs],
        [*map(type, inputs)],
        outputs,
        [*map(facts.shapes.get, inputs)],
        [*map(facts.vectors.get, inputs)],
        weights,  # type: ignore[arg-type]
        facts.asked,
        [(tensor, facts.shapes[tensor]) for tensor in outputs if tensor in facts.shapes],
        [(tensor, facts.vectors[tensor]) for tensor in outputs if tensor in facts.vectors],
    )


def _weight(constant: Constant) -> Weight | None:
    values = constant._values
    if isinstance(values, np.ndarray):
        return Weight(constant, values, values.shape, values.tobytes() if is_small_vector(constant) else b"")
    if not isinstance(values, Values) or isinstance(values, SharedValues):
        return None
    return Weight(constant, values, (), b"")
