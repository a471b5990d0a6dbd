"""Random valid ONNX models, one a seed: what a pass may meet and its author did not think of.

A model takes up to three tensors, some with the symbolic dimensions `n` and `m`, and runs at every size of these. Its
nodes are chosen one by one; shapes are kept along, so that nearly every model is one that onnxruntime takes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx import numpy_helper as numpy_proto

from tests import random_nodes
from tests.random_shapes import FLOATS, element_type

Dim = int | str
Shape = tuple[Dim, ...]

OPSETS = {7: (3, 4), 9: (3, 4, 7), 11: (6, 8), 13: (7, 8), 17: (8, 9), 21: (10,)}
"""The IR versions to try, by opset."""


@dataclass(frozen=True)
class Value:
    """A tensor as the generator knows it."""

    name: str
    dtype: str
    shape: Shape

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    def info(self, shape: Shape | None = None) -> ValueInfoProto:
        return helper.make_tensor_value_info(self.name, element_type(self.dtype), shape or self.shape)


@dataclass
class Model:
    """What all scopes of one model share."""

    seed: int
    functions: list[tuple[FunctionProto, list[Value], Value]] = field(default_factory=list)
    """With what each takes and gives."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.numbers = np.random.default_rng(self.seed)
        self.opset = self.random.choice(list(OPSETS))
        self.ir_version = self.random.choice(OPSETS[self.opset])


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

    def __post_init__(self) -> None:
        self.random, self.opset = self.model.random, self.model.opset
        self.count = 0
        self.is_focused = False
        """Whether each node reads the one before, as in a stack of layers."""

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

    def constant(self, array: Any, dtype: str = "float32") -> Value:
        """A constant: an initializer or a Constant node, an old or a new one, perhaps behind an Identity."""
        array = np.asarray(array, dtype)
        value = Value(self.fresh(), dtype, array.shape)
        tensor = numpy_proto.from_array(array, value.name)
        same = [old for old in self.initializers if (old.raw_data, old.dims) == (tensor.raw_data, tensor.dims)]
        if same and same[0].data_type == tensor.data_type and self.chance(0.7):
            return Value(same[0].name, dtype, array.shape)
        unlisted = self.depth > 0 and self.model.ir_version == 3  # a subgraph's initializers would have to be inputs
        if self.in_function or unlisted or self.chance(0.3):
            self.nodes.append(helper.make_node("Constant", [], [value.name], value=tensor))
        else:
            self.initializers.append(tensor)
        self.constants.append(value)
        return self.add("Identity", [value], value) if self.chance(0.05) else value

    def weights(self, *shape: int, dtype: str = "float32", low: float = -1.0, high: float = 1.0) -> Value:
        """Random numbers, perhaps those of an old constant, perhaps ones that the caller may override."""
        fitting = [old for old in self.constants if (old.dtype, old.shape) == (dtype, shape)]
        if fitting and low < 0 and self.chance(0.25):
            return self.random.choice(fitting)
        numbers = self.model.numbers.uniform(low, high, shape)
        if self.depth == 0 and not self.in_function and self.model.ir_version >= 4 and self.chance(0.04):
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
                self.random.choices(names, weights)[0](self)

    def child(self, inputs: Sequence[Value] = ()) -> Scope:
        return Scope(self.model, self.visible(), self.depth + 1, self.in_function, list(inputs))

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


def random_model(seed: int) -> ModelProto:
    """The model of a seed."""
    model = Model(seed)
    scope, rng = Scope(model), model.random
    shapes: list[Shape] = [("n", 4, 7, 6), ("n", 3, 5, 5), ("n", 6), ("n", "m", 4), (2, 8), ("n", 4, 9), (1, 2, 3, 3)]
    for index in range(rng.randint(1, 3)):
        dtype = rng.choices(["float32", "float16", "float64", "int64", "bool"], [12, 1, 2, 2, 1])[0]
        scope.inputs.append(Value(f"x{index}", dtype if index else "float32", rng.choice(shapes)))
    scope.grow(rng.randint(3, 25))
    outputs = _outputs(scope)
    graph = scope.graph(outputs, "random")
    defaults = [v.info() for v in scope.overridable]
    if model.ir_version == 3:  # every initializer is an input there
        defaults = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in scope.initializers]
    graph.input.extend(rng.sample(defaults, len(defaults)))
    declared = {v.name for v in outputs}
    graph.value_info.extend(v.info() for v in scope.made if v.name not in declared and scope.chance(0.2))
    if scope.chance(0.1):  # onnxruntime takes nodes in any order
        nodes = list(graph.node)
        rng.shuffle(nodes)
        del graph.node[:]
        graph.node.extend(nodes)
    imports = [helper.make_opsetid("", model.opset)]
    imports += [helper.make_opsetid("local", 1)] if model.functions else []
    return onnx.helper.make_model(
        graph,
        opset_imports=imports,
        ir_version=model.ir_version,
        functions=[proto for proto, _, _ in model.functions],
        producer_name="random",
    )


def _outputs(scope: Scope) -> list[Value]:
    """What the model gives out: late and early values, copies of inputs and of other outputs."""
    rng = scope.random
    if not scope.made:
        scope.add("Identity", [scope.inputs[0]], scope.inputs[0])
    used = {name for node in _every_node(scope.nodes) for name in node.input}
    ends = [v for v in scope.made if v.name not in used]
    chosen = set(ends) if scope.chance(0.7) else {scope.made[-1]}
    if scope.chance(0.4):
        chosen |= set(rng.sample(scope.made, min(len(scope.made), rng.randint(0, 3))))
    if scope.chance(0.15):
        chosen.add(scope.add("Identity", [scope.inputs[-1]], scope.inputs[-1]))
    if scope.chance(0.15):
        twin = rng.choice(sorted(chosen, key=lambda v: v.name))
        chosen.add(scope.add("Identity", [twin], twin))
    if scope.chance(0.1):
        chosen.add(rng.choice(scope.constants or scope.made))
    if scope.chance(0.05):
        chosen.add(scope.inputs[0])
    listed = rng.sample(sorted(chosen, key=lambda v: v.name), len(chosen))
    return [*listed, listed[0]] if scope.chance(0.04) else listed


def _every_node(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            yield from _every_node(attribute.g.node)


def random_feeds(model: ModelProto, seed: int, dims: dict[str, int]) -> dict[str, Any]:
    """An array for every input without a default, at these sizes of the symbolic dimensions."""
    numbers = np.random.default_rng(seed)
    defaults = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for info in model.graph.input:
        if info.name not in defaults:
            kind = info.type.tensor_type
            shape = [dims[dim.dim_param] if dim.dim_param else dim.dim_value for dim in kind.shape.dim]
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
            wide = numbers.uniform(-2, 2, shape) if dtype.kind == "f" else numbers.integers(0, 3, shape)
            feeds[info.name] = wide.astype(dtype)
    return feeds
