"""A graph, subgraph or function body that grows node by node, for `random_graphs`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, helper
from onnx import numpy_helper as numpy_proto

from tests import random_nodes
from tests.random_values import COMMUTATIVE, COMPARISONS, FLOATS, Shape, Value, broadcast


@dataclass
class Model:
    """What all scopes of one model share."""

    opset: int
    ir_version: int
    from_the_end: bool = True
    """Whether reductions may count axes from the end."""
    functions: list[tuple[FunctionProto, list[Value], Value]] = field(default_factory=list)
    """With what each takes and gives."""
    symbols: int = 0

    def __post_init__(self) -> None:
        self.restart(0)

    def restart(self, seed: int) -> None:
        """Make the choices that follow depend on this seed alone."""
        self.random = random.Random(seed)
        self.numbers = np.random.default_rng(seed)

    def symbol(self) -> str:
        """A dimension that is computed: no input has it."""
        self.symbols += 1
        return f"u{self.symbols}"


@dataclass
class Scope:
    """A graph, subgraph or function body that grows node by node."""

    model: Model
    outer: Sequence[Value] = ()
    """What the graphs around it have computed before."""
    depth: int = 0
    in_function: bool = False
    inputs: list[Value] = field(default_factory=list)
    nodes: list[NodeProto] = field(default_factory=list)
    initializers: list[TensorProto] = field(default_factory=list)
    constants: list[Value] = field(default_factory=list)
    made: list[Value] = field(default_factory=list)
    overridable: list[Value] = field(default_factory=list)
    conditions: dict[str, Value] = field(default_factory=dict)
    """Conditions of the Ifs around it, for Ifs within that test the same."""

    def __post_init__(self) -> None:
        self.opset = self.model.opset
        self.count = 0
        self.is_focused = False
        """Whether each node reads the one before, as in a stack of layers."""

    @property
    def random(self) -> random.Random:
        return self.model.random

    def fresh(self) -> str:
        """A name that no graph around has; sibling subgraphs, and functions, use the same ones."""
        self.count += 1
        return f"v{self.depth}_{self.count}"

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def add(self, op: str, inputs: Sequence[Value | None], like: Value | tuple[str, Shape], **attrs: Any) -> Value:
        """Append a node of one output; None is an omitted input."""
        return self.add_many(op, inputs, [like], **attrs)[0]

    def add_many(
        self, op: str, inputs: Sequence[Value | None], likes: Sequence[Value | tuple[str, Shape]], **attrs: Any
    ) -> list[Value]:
        kinds = [(like.dtype, like.shape) if isinstance(like, Value) else like for like in likes]
        outputs = [Value(self.fresh(), *kind) for kind in kinds]
        names = [value.name if value else "" for value in inputs]
        while names and not names[-1] and self.chance(0.5):
            names.pop()
        name = self.random.choice(["", f"{op}_{self.depth}_{self.count}"])
        self.nodes.append(helper.make_node(op, names, [output.name for output in outputs], name, **attrs))
        self.made += outputs
        return outputs

    def apply(self, op: str, *operands: Value | float, **attrs: Any) -> Value:
        """Append an elementwise node, numbers being constants of the type of the other operand, in any order."""
        first = next(operand for operand in operands if isinstance(operand, Value))
        values = [v if isinstance(v, Value) else self.scalar(v, first.dtype, len(first.shape)) for v in operands]
        shape = reduce(lambda a, b: broadcast(a, b) or b, [value.shape for value in values])
        if op in COMMUTATIVE and self.chance(0.4):
            values.reverse()
        dtype = "bool" if op in COMPARISONS else first.dtype
        return self.add(op, values, (dtype, shape), **attrs)

    def scalar(self, number: float, dtype: str, rank: int = 0) -> Value:
        """A constant of one element, most often without axes."""
        shape = self.random.choice([(), (), (), (1,), (1,) * rank]) if rank else ()
        with np.errstate(all="ignore"):
            return self.constant(np.full(shape, number).astype(dtype), dtype)

    def constant(self, array: Any, dtype: str = "float32") -> Value:
        """A constant: an initializer or a Constant node, an old or a new one, perhaps behind an Identity."""
        array = np.asarray(array, dtype)
        value = Value(self.fresh(), dtype, array.shape)
        tensor = numpy_proto.from_array(array, value.name)
        same = [old for old in self.initializers if (old.raw_data, old.dims) == (tensor.raw_data, tensor.dims)]
        if same and same[0].data_type == tensor.data_type and self.chance(0.6):
            return Value(same[0].name, dtype, array.shape)
        unlisted = self.depth > 0 and self.model.ir_version == 3  # a subgraph's initializers would have to be inputs
        if self.in_function or unlisted or self.chance(0.3):
            self.nodes.append(helper.make_node("Constant", [], [value.name], value=tensor))
        else:
            self.initializers.append(tensor)
        self.constants.append(value)
        return self.add("Identity", [value], value) if self.chance(0.03) else value

    def weights(self, *shape: int, dtype: str = "float32", low: float = -1.0, high: float = 1.0) -> Value:
        """Random numbers, perhaps those of an old constant, perhaps ones that the caller may override."""
        fitting = [old for old in self.constants if (old.dtype, old.shape) == (dtype, shape)]
        if fitting and low < 0 and self.chance(0.25):
            return self.random.choice(fitting)
        numbers = self.model.numbers.uniform(low, high, shape)
        if self.depth == 0 and not self.in_function and self.model.ir_version >= 4 and self.chance(0.03):
            value = Value(self.fresh(), dtype, shape)
            self.initializers.append(numpy_proto.from_array(numbers.astype(dtype), value.name))
            self.overridable.append(value)
            return value
        return self.constant(numbers, dtype)

    def ints(self, *numbers: int) -> Value:
        return self.constant(numbers, "int64")

    def pick(self, *, ranks: Sequence[int] = range(7), dtypes: Sequence[str] = FLOATS) -> Value | None:
        """A value, most often a late one."""
        here = [v for v in [*self.inputs, *self.made] if len(v.shape) in ranks and v.dtype in dtypes]
        if self.is_focused and here:
            return here[-1]
        outside = [v for v in self.outer if len(v.shape) in ranks and v.dtype in dtypes]
        if outside and (not here or self.chance(0.3)):
            return self.random.choice(outside)
        if not here:
            return None
        return here[-1] if self.chance(0.6) else self.random.choice(here)

    def grow(self, nodes: int) -> None:
        """Append about so many nodes."""
        names, weights = zip(*random_nodes.WEIGHTS.items(), strict=True)
        wanted = len(self.nodes) + nodes
        for _ in range(8 * nodes):
            if len(self.nodes) < wanted:
                random_nodes.STEPS[self.random.choices(names, weights)[0]](self)

    def child(self, inputs: Sequence[Value] = ()) -> Scope:
        child = Scope(self.model, self.visible(), self.depth + 1, self.in_function, list(inputs))
        child.conditions = dict(self.conditions)
        return child

    def visible(self) -> list[Value]:
        return [*self.outer, *self.inputs, *self.made]

    def shaped_like(self, wanted: Value) -> Value:
        """Something of that type and shape that this scope has made itself."""
        fitting = [v for v in self.made if (v.dtype, v.shape) == (wanted.dtype, wanted.shape)]
        return self.random.choice(fitting) if fitting else self.add("Identity", [wanted], wanted)

    def graph(self, outputs: Sequence[Value], name: str = "body") -> GraphProto:
        return helper.make_graph(
            self.nodes, name, [v.info() for v in self.inputs], [v.info() for v in outputs], self.initializers
        )

    def function(self) -> tuple[FunctionProto, list[Value], Value] | None:
        """A new local function, of one or two inputs and an attribute, or one that stands already."""
        functions = self.model.functions
        if functions and self.chance(0.4):
            return self.random.choice(functions) if not self.in_function or self.chance(0.5) else None
        if self.opset < 13 or self.model.ir_version < 8 or (self.in_function and len(functions) > 3):
            return None
        taken = [self.pick(dtypes=("float32",)) for _ in range(self.random.choice([1, 2]))]
        takes = [Value(f"a{i}", value.dtype, value.shape) for i, value in enumerate(taken) if value]
        if not takes:
            return None
        body = Scope(self.model, depth=0, in_function=True, inputs=takes)
        scaled = body.add("LeakyRelu", [takes[0]], takes[0])
        body.nodes[-1].attribute.append(AttributeProto(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT))
        body.grow(self.random.randint(1, 5))
        given = self.random.choice([v for v in body.made if v.is_float] or [scaled])
        name, imports = f"f{len(functions)}", [helper.make_opsetid("", self.opset), helper.make_opsetid("local", 1)]
        outputs = [given.name]
        proto = helper.make_function(
            "local", name, [v.name for v in takes], outputs, body.nodes, imports, attributes=["slope"]
        )
        functions.append((proto, takes, given))
        return functions[-1]
