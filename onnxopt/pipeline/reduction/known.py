"""What every value of the model is on one set of inputs: its type, its shape and its numbers.

An inner value that a cut leaves without a producer becomes an input, or a constant, of this type, and keeps the numbers
that it had: what failed on them can still fail.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from onnxopt import ir
from onnxopt.data import DataSet, Feeds
from onnxopt.errors import BadModel
from onnxopt.ir import dtypes
from onnxopt.ir.shapes import derive
from onnxopt.ir.skeleton import Facts
from onnxopt.pipeline.reduction.branches import inline, taken
from onnxopt.runtime.executable import executable, header_of
from onnxopt.runtime.generated_inputs import runnable_inputs
from onnxopt.runtime.session import NotRunnable, Session

_AT_ONCE = 256
"""Values that one run gives out, so that not all of them are in memory together."""
_SAMPLES = 8
"""Batches of the data, or generated inputs, on which the failure is looked for."""
_GENERATED = 2
_LEVELS = 16
"""How deep an If is followed into the branch that it takes."""


@dataclass
class Known:
    """Facts and numbers by the tensor."""

    facts: dict[ir.Tensor, Facts] = field(default_factory=dict)
    files: dict[ir.Tensor, Path] = field(default_factory=dict)
    """Where the numbers of inner values lie."""
    fed: dict[ir.Tensor, Any] = field(default_factory=dict)
    """The values of the model's own inputs."""
    sizes: dict[str, int] = field(default_factory=dict)
    """The sizes of symbolic dimensions in these."""

    def value(self, tensor: ir.Tensor) -> Any:
        """The numbers; made up ones where only the whole shape is known; None where not even that is."""
        if tensor in self.fed:
            return self.fed[tensor]
        facts = self.facts.get(tensor, Facts())
        if tensor in self.files:
            array = np.load(self.files[tensor], mmap_mode="r", allow_pickle=False)
            # numpy's files keep bfloat16 and the like as bare bytes
            return array.view(facts.dtype) if array.dtype.kind == "V" and facts.dtype is not None else array
        if facts.dtype is None or facts.dtype.kind in "OUS" or facts.kind != "tensor_type" or facts.shape is None:
            return None
        dims = [self.sizes.get(dim) if isinstance(dim, str) else dim for dim in facts.shape]
        sizes = [dim for dim in dims if dim is not None]
        if len(sizes) < len(dims):
            return None
        rng = np.random.default_rng(zlib.crc32(tensor.name.encode()))
        is_float = facts.dtype.kind not in "biu"
        return (rng.standard_normal(sizes) if is_float else np.ones(sizes)).astype(facts.dtype)

    def describe(self, tensor: ir.Variable) -> bool:
        """Declare a tensor as what is known of it, so that it can be an input or an output; whether that is enough."""
        facts = self.facts.get(tensor, Facts())
        if (tensor.type or "tensor_type") != "tensor_type" or facts.kind not in (None, "tensor_type"):
            return False
        tensor.type = "tensor_type"
        tensor.dtype = tensor.dtype or facts.dtype
        shape = tensor.shape if facts.shape is None else list(facts.shape)
        value = self.value(tensor)
        if value is not None:
            tensor.dtype = dtypes.STRING if value.dtype.kind == "U" else value.dtype
            if shape is None or len(shape) != value.ndim:
                shape = list(value.shape)
            shape = [
                size if dim is None or isinstance(dim, int) else dim
                for dim, size in zip(shape, value.shape, strict=True)
            ]
        tensor.shape = shape
        return tensor.dtype is not None and shape is not None

    def feed(self, tensor: ir.Tensor, value: Any) -> None:
        """Note what an input of the model is given."""
        self.fed[tensor] = value
        if isinstance(value, np.ndarray):
            for dim, size in zip(tensor.shape or (), value.shape, strict=False):
                if isinstance(dim, str):
                    self.sizes.setdefault(dim, size)

    def look(self, tensor: ir.Tensor) -> tuple[Any, tuple[int, ...]] | None:
        """The type and the shape in numbers; None where these are not known."""
        value = self.value(tensor)
        return (value.dtype, value.shape) if isinstance(value, np.ndarray) else None

    def copy(self, tensor: ir.Tensor, twin: ir.Tensor) -> None:
        """What is known of one tensor holds for another."""
        if tensor in self.facts:
            self.facts[twin] = self.facts[tensor]
        if tensor in self.files:
            self.files[twin] = self.files[tensor]
        if tensor in self.fed:
            self.fed[twin] = self.fed[tensor]

    def feeds(self, graph: ir.Graph) -> Feeds | None:
        """What to run a graph on; None where an input has no value."""
        found: Feeds = {}
        for tensor in graph.inputs:
            if getattr(tensor, "default", None) is None:
                found[tensor.name] = self.value(tensor)
                if found[tensor.name] is None and tensor not in self.fed:  # None may be given: it is an empty optional
                    return None
        return found


def inputs_for(graph: ir.Graph, data: DataSet | None, dims: dict[str, int]) -> list[Feeds]:
    """The first samples of the data, or generated inputs that the model runs on.

    Raises:
        NotRunnable: No generated ones suit it.
    """
    if data is not None:
        found = list(data.take(_SAMPLES).batches())
    else:
        with executable(graph) as model:
            found = runnable_inputs(header_of(model), Session(model), _GENERATED, dims=dims)
    return [{name: _picklable(value) for name, value in feeds.items()} for feeds in found]


def _picklable(value: Any) -> Any:
    """Strings as numpy's own: an unpickled array of objects has another dtype than `object` for who asks closely."""
    return value.astype(np.str_) if isinstance(value, np.ndarray) and value.dtype.kind == "O" else value


def values_of(graph: ir.Graph) -> Iterator[ir.Tensor]:
    """Every value of the main graph and its subgraphs that is no constant, always in the same order."""
    for scope in (graph, *graph.subgraphs(recursive=True)):
        yield from scope.inputs
        for node in scope.nodes:
            yield from node.outputs


def learn(graph: ir.Graph, feeds: Feeds | None, folder: Path) -> list[tuple[Facts, str]]:
    """Facts and the name of a file in `folder` with the numbers, empty where there are none, as `values_of` has them.

    The graph is of no use afterwards. A branch that an If takes is inlined, so that its values can be given out too.
    Of other subgraphs, and without feeds or where onnxruntime cannot run the model, only facts are known.
    """
    tensors = list(values_of(graph))
    try:
        facts: dict[Any, Facts] = dict(derive(graph)[0])
    except BadModel:
        facts = {}
    for tensor in tensors:
        if tensor not in facts and isinstance(tensor, ir.Variable):
            facts[tensor] = Facts(tensor.dtype, tensor.shape, tensor.type)
    found: dict[ir.Tensor, str] = {}
    if feeds is not None:
        place = {tensor: f"{number}.npy" for number, tensor in enumerate(tensors)}
        try:
            _inline_taken(graph, feeds)
            for tensor, array in _run(graph, feeds, facts, list(values_of(graph))):
                np.save(folder / place[tensor], array, allow_pickle=False)
                found[tensor] = place[tensor]
        except NotRunnable:
            pass
    return [(facts.get(tensor, Facts()), found.get(tensor, "")) for tensor in tensors]


def _inline_taken(graph: ir.Graph, feeds: Feeds) -> None:
    for _ in range(_LEVELS):
        choices = [node for node in graph.nodes if node.is_op("If")]
        if not choices:
            return
        unknown = [node.inputs[0] for node in choices if isinstance(node.inputs[0], ir.Variable)]
        facts: dict[Any, Facts] = {tensor: Facts(np.dtype(bool), None, "tensor_type") for tensor in unknown}
        values = dict(_run(graph, feeds, facts, unknown))
        branches = {}
        for node in choices:
            condition = node.inputs[0]
            is_constant = isinstance(condition, ir.Constant)
            value = condition.read() if is_constant else values.get(condition, feeds.get(condition.name))
            branches[node] = taken(node, value)
        inline(graph, graph, branches)


def _run(
    graph: ir.Graph, feeds: Feeds, facts: dict[Any, Facts], tensors: list[ir.Tensor]
) -> Iterator[tuple[ir.Tensor, Any]]:
    """Run a graph and yield the arrays of those of `tensors` that nodes of the main graph make."""
    made = {tensor for node in graph.nodes for tensor in node.outputs if tensor.name}
    wanted = [
        tensor
        for tensor in dict.fromkeys(tensors)
        if tensor in made and (known := facts.get(tensor, Facts())).kind == "tensor_type" and known.dtype is not None
    ]
    outputs = list(graph.outputs)
    shapes = {tensor: (tensor.dtype, tensor.shape, tensor.type) for tensor in wanted}
    for tensor in wanted:
        tensor.dtype, tensor.shape, tensor.type = facts[tensor].dtype, None, "tensor_type"
    graph.outputs = wanted
    with executable(graph) as model:
        session = Session(model)
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            arrays = session.run(feeds, [tensor.name for tensor in part])
            for tensor in part:
                array = arrays[tensor.name]
                yield tensor, array.astype(np.str_) if array.dtype.kind == "O" else array
    graph.outputs = outputs
    for tensor, (dtype, shape, kind) in shapes.items():
        tensor.dtype, tensor.shape, tensor.type = dtype, shape, kind
