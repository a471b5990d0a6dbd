"""Random valid ONNX models: what a pass may meet and its author did not think of.

A `Recipe` says how to build one: opset, inputs, and a list of steps, each with a seed of its own, so that a step can be
left out and the others stay what they are. `random_recipes` has hypothesis draw and shrink recipes.

A model takes up to three tensors, some with the symbolic dimensions `n` and `m`, and runs at every size of these. Each
step appends a few nodes (`random_nodes`); shapes are kept along, so that nearly every model is one that onnxruntime
takes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from tests import random_nodes
from tests.random_scopes import Model, Scope
from tests.random_values import Shape, Value

OPSETS = {
    17: (8, 9), 7: (3, 4), 8: (3, 5), 9: (3, 4, 7), 10: (5,), 11: (6, 8), 12: (7,), 13: (7, 8), 14: (7,), 15: (8,),
    16: (8,), 18: (8, 9), 19: (9,), 20: (9,), 21: (10,), 22: (10,), 23: (10, 11),
}  # fmt: skip
"""The IR versions to try, by opset."""
OFTEN = [*OPSETS, 17, 18, 20, 20, 21, 23, 23]
"""Opsets: those with the operators that passes recognise are tried more often."""
SHAPES: tuple[Shape, ...] = (
    ("n", 6), ("n", 4, 7, 6), ("n", 3, 5, 5), ("n", 4, 6, 6), ("n", "m", 4), (2, 8), ("n", 4, 9), (1, 2, 3, 3), (3,),
    ("n", 1, 6), ("n",), (2, 4, 4, 3), (1, 4, 6, 4), ("n", "m"), (4, 0),
)  # fmt: skip
DTYPES = (*["float32"] * 12, "float16", "float64", "float64", "int64", "int64", "int32", "bool")


@dataclass(frozen=True)
class Step:
    """What to append next, and the seed of the choices in it."""

    kind: str
    """A name in `random_nodes.STEPS`."""
    seed: int


@dataclass(frozen=True)
class Recipe:
    """A random model, before it is built."""

    opset: int
    ir_version: int
    inputs: tuple[tuple[str, Shape], ...]
    """Type and shape of each."""
    steps: tuple[Step, ...]
    seed: int = 0
    """Of the outputs, and of what is declared; of the values that it is run on, too. 0: ends alone are outputs."""

    @classmethod
    def of(cls, seed: int) -> Recipe:
        """One of any number of recipes, without hypothesis."""
        rng = random.Random(seed)
        opset = rng.choice(OFTEN)
        inputs = [(rng.choice(DTYPES) if i else "float32", rng.choice(SHAPES)) for i in range(rng.randint(1, 3))]
        kinds, weights = zip(*random_nodes.WEIGHTS.items(), strict=True)
        steps = [Step(kind, rng.randrange(1 << 24)) for kind in rng.choices(kinds, weights, k=rng.randint(1, 12))]
        return cls(opset, rng.choice(OPSETS[opset]), tuple(inputs), tuple(steps), rng.randrange(1, 1 << 24))


def random_model(seed: int) -> ModelProto:
    """The model of a seed: one that onnxruntime gets right where a dimension is 0, too."""
    return build(Recipe.of(seed), from_the_end=False)


def build(recipe: Recipe, *, from_the_end: bool = True) -> ModelProto:
    """The model of a recipe; its reductions may count axes from the end, which `random_empty` says more about."""
    model = Model(recipe.opset, recipe.ir_version, from_the_end)
    scope = Scope(model)
    scope.inputs += [Value(f"x{index}", dtype, shape) for index, (dtype, shape) in enumerate(recipe.inputs)]
    for step in recipe.steps:
        model.restart(step.seed)
        random_nodes.STEPS[step.kind](scope)
    model.restart(recipe.seed)
    rng = model.random
    outputs = _outputs(scope, plain=recipe.seed == 0)
    graph = scope.graph(outputs, "random")
    defaults = [v.info() for v in scope.overridable]
    if model.ir_version == 3:  # every initializer is an input there
        defaults = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in scope.initializers]
    graph.input.extend(rng.sample(defaults, len(defaults)))
    declared = {v.name for v in outputs}
    if recipe.seed:
        graph.value_info.extend(v.info() for v in scope.made if v.name not in declared and scope.chance(0.2))
    if recipe.seed and scope.chance(0.1):  # onnxruntime takes nodes in any order
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


def _outputs(scope: Scope, plain: bool) -> list[Value]:
    """What the model gives out: late and early values, copies of inputs and of other outputs."""
    rng = scope.random
    if not scope.made:
        scope.add("Identity", [scope.inputs[0]], scope.inputs[0])
    used = {name for node in _every_node(scope.nodes) for name in node.input}
    ends = [v for v in scope.made if v.name not in used]
    if plain:
        return ends
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
    """An array for every input without a default, at these sizes of the symbolic dimensions.

    Floats are of -2 to 2, in every fourth set with zeros of both signs and numbers up to 100; integers of -1 to 3.
    """
    numbers = np.random.default_rng(seed)
    defaults = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for info in model.graph.input:
        if info.name not in defaults:
            kind = info.type.tensor_type
            shape = [dims[dim.dim_param] if dim.dim_param else dim.dim_value for dim in kind.shape.dim]
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
            values = numbers.uniform(-2, 2, shape) if dtype.kind == "f" else numbers.integers(-1, 4, shape)
            if dtype.kind == "f" and seed % 4 == 3:
                odd = numbers.choice([0.0, -0.0, 1.0, -1.0, 100.0, -30.0], shape)
                values = np.where(numbers.random(shape) < 0.2, odd, values)
            feeds[info.name] = values.astype(dtype) if dtype.kind != "b" else numbers.random(shape) < 0.5
    return feeds


def every_node(model: ModelProto) -> list[NodeProto]:
    """All nodes, of subgraphs and functions too."""
    scopes = [model.graph.node, *(function.node for function in model.functions)]
    return [node for scope in scopes for node in _every_node(scope)]


def weight_bytes(model: ModelProto) -> int:
    """Of initializers and Constant nodes, all scopes."""
    attributes = [attribute for node in every_node(model) for attribute in node.attribute]
    graphs = [model.graph, *(attribute.g for attribute in attributes)]
    tensors: list[TensorProto] = [tensor for graph in graphs for tensor in graph.initializer]
    tensors += [attribute.t for attribute in attributes if attribute.HasField("t")]
    return sum(tensor.ByteSize() - len(tensor.name) for tensor in tensors)


def node_count(model: ModelProto) -> int:
    """All scopes, without Constant nodes: passes turn these into initializers, and in functions back."""
    return sum(node.op_type != "Constant" for node in every_node(model))
