"""`freeze-shapes`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from onnxopt import ir
from onnxopt.errors import BadModel, BadOption
from onnxopt.ir.shapes import derive
from onnxopt.pipeline.base import Context, Pass
from onnxopt.pipeline.suggest import did_you_mean
from onnxopt.runtime.dimensions import fixed, names_in, unnamed


@dataclass(frozen=True)
class FreezeShapes(Pass):
    """Give symbolic dimensions of the inputs their numbers, for a model that is deployed with static inputs.

    `freeze-shapes{batch=1 sequence=128}`. A dimension without a name is called `input[axis]`, which goes into
    `dims=`, as does any name that is no plain word. In an expression, such as `past + 1`, each name has its number;
    where all are given, the expression has one. What the model declares of its outputs and of values inside, in
    subgraphs too, changes with the inputs, and to the number that follows from them where one does. Local functions
    have no shapes of their own and stay.

    This pass alone changes the interface of the model: afterwards it takes no other sizes. A name that no input has is
    an error. `onnxopt run` verifies at the frozen sizes. What a static shape makes possible is for the passes after it.
    """

    dims: dict[str, int] = field(metadata={"open": True})
    """Sizes by the name of a dimension; each may also be written as an option of its own, `{batch=1}`."""

    def __post_init__(self) -> None:
        """Refuse sizes that no dimension has."""
        for name, size in self.dims.items():
            if size < 0:
                raise ValueError(f"the size of {name} is 0 or more, not {size}")

    def fixed_dims(self) -> Mapping[str, int]:
        """The dimensions and their sizes."""
        return self.dims

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed.

        Raises:
            BadOption: No input has a dimension of a name that is given.
        """
        done = {(each.where, each.what) for each in ctx.rewrites if each.pass_name == ctx.current}  # in a `repeat`
        wanted = {name: size for name, size in self.dims.items() if (name, _what(size)) not in done}
        known = _names(graph)
        for name in wanted:
            if name not in known:
                there = f"; there are: {', '.join(known) or 'none'}"
                raise BadOption(f"freeze-shapes: no input has a dimension {name!r}{did_you_mean(name, known, there)}")
        sizes = {name: size for name, size in wanted.items() if ctx.allow(_what(size), name)}
        if not sizes:
            return False
        declared = {tensor: list(shape) for tensor in _values(graph) if (shape := tensor.shape) is not None}
        inputs = set(graph.inputs)
        for tensor, shape in declared.items():
            tensor.shape = fixed(tensor.name if tensor in inputs else "", shape, sizes)
        _follow(graph, declared, ctx)
        for tensor, shape in declared.items():
            for was, now in zip(shape, tensor.shape or (), strict=True):
                if tensor in inputs and isinstance(now, str) and now != was and not names_in(now) & set(known):
                    ctx.refuse(f"'{now}' is no number that can be worked out: give '{was}' one", tensor.name)
        return True


def _what(size: int) -> str:
    return f"frozen to {size}"


def _names(graph: ir.Graph) -> list[str]:
    """What the dimensions of the inputs are called."""
    shapes = [(tensor.name, tensor.shape) for tensor in graph.inputs if isinstance(tensor, ir.Variable)]
    names: dict[str, None] = {}
    for input_, shape in shapes:
        for dim in shape or ():
            if isinstance(dim, str):
                names.update(dict.fromkeys(sorted(names_in(dim), key=lambda name: (name != dim, name))))
        names.update(dict.fromkeys(unnamed(input_, shape)))
    return list(names)


def _values(graph: ir.Graph) -> Iterator[ir.Variable]:
    """All values with a declared shape, but for those of functions: inputs, and what nodes give."""
    for scope in (graph, *graph.subgraphs(recursive=True)):
        for tensor in (*scope.inputs, *(tensor for node in scope.nodes for tensor in node.outputs)):
            if isinstance(tensor, ir.Variable) and tensor.name:
                yield tensor


def _follow(graph: ir.Graph, declared: dict[ir.Variable, list[int | str | None]], ctx: Context) -> None:
    """Let dimensions that were declared as no number be the one that follows from the inputs and the operators."""
    ir.sort(graph)
    try:
        _, derived, _ = derive(graph)  # the second: without what the file declares
    except BadModel as error:
        ctx.warn(f"shapes of values inside could not be worked out: {error}")
        return
    for tensor, before in declared.items():
        found = derived.facts[tensor].shape if tensor in derived.facts else None
        if tensor.shape is None or found is None or len(found) != len(before):
            continue
        for axis, (was, now) in enumerate(zip(before, found, strict=True)):
            if isinstance(now, int) and not isinstance(was, int) and tensor.shape[axis] != now:
                if isinstance(tensor.shape[axis], int):
                    ctx.warn(f"'{tensor.name}' was declared {was} on axis {axis}, but {now} follows from the inputs")
                tensor.shape[axis] = now
