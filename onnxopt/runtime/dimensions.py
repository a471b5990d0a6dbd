"""Sizes for the symbolic and unknown dimensions of a model's inputs."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from onnxopt.data.spec import Shape, ValueSpec
from onnxopt.errors import BadOption


@dataclass(frozen=True)
class Guess:
    """What to assume where the model does not say."""

    batch: int
    """The size of a free first axis."""
    inner: int
    """The size of a free axis with a declared one after it, as in [2, ?, 128]."""
    last: int
    """The size of a free axis with none but free ones after it, as both in [1, 3, ?, ?]."""
    limit: int
    """The size of an axis that indices point into and that nobody knows."""


GUESSES = (
    *(Guess(2, size, size, 2) for size in (16, 64, 3)),
    *(
        Guess(1, inner, size, 1)
        for size in (16, 64, 128, 224, 256, 512, 576, 1024, 16_000, 32, 8, 4, 2, 1)
        for inner in (size, 1)
    ),
)
"""Tried in order: a batch unlike the size, so that a mixed-up axis shows; then sizes that networks insist on."""


def bind(specs: Sequence[ValueSpec], dims: Mapping[str, int], guess: Guess) -> dict[str, tuple[int, ...]]:
    """A concrete shape by input name. One symbol has one size; an unknown rank is taken as 1.

    Raises:
        BadOption: `dims` names a dimension that no input has.
    """
    sizes = dict(dims)
    names: set[str] = set()
    for spec in specs:
        for dim, free in zip(spec.shape or (), _free_sizes(spec.shape or (), guess), strict=True):
            if isinstance(dim, str):
                names |= {dim, *_symbols(dim)}
                if dim.isidentifier():
                    sizes.setdefault(dim, free)
        names.update(unnamed(spec.name, spec.shape))
    if unknown := sorted(set(dims) - names):
        raise BadOption(f"no input has a dimension '{unknown[0]}'; there are: {', '.join(sorted(names)) or 'none'}")
    return {
        spec.name: (guess.last,) if spec.shape is None else tuple(_sizes(spec, spec.shape, sizes, guess))
        for spec in specs
    }


def unnamed(name: str, shape: Sequence[int | str | None] | None) -> list[str]:
    """What to call the dimensions of an input that have no name of their own: `input[axis]`."""
    return [f"{name}[{axis}]" for axis, dim in enumerate(shape or ()) if dim is None]


def fixed(name: str, shape: Sequence[int | str | None], sizes: Mapping[str, int]) -> list[int | str | None]:
    """A shape with numbers for the symbols of which the size is given.

    An expression becomes a number where all its names are given, and else names only those that are not. Of the input
    `name`, dimensions without a name are called as `unnamed` does.
    """
    return [
        _fixed(dim, sizes) if isinstance(dim, str) else sizes.get(f"{name}[{axis}]") if dim is None else dim
        for axis, dim in enumerate(shape)
    ]


def fixed_spec(spec: ValueSpec, sizes: Mapping[str, int]) -> ValueSpec:
    """An input with numbers for the symbols of its shape."""
    if not sizes or spec.shape is None or spec.kind != "tensor":
        return spec
    return replace(spec, shape=tuple(fixed(spec.name, spec.shape, sizes)))


def names_in(dim: str) -> set[str]:
    """What may be given a size in a symbolic dimension: its text as a whole, and the names in it."""
    return {dim, *_symbols(dim)}


def _fixed(dim: str, sizes: Mapping[str, int]) -> int | str:
    given = sizes.get(dim)
    if given is not None:
        return given
    names = _symbols(dim) & sizes.keys()
    if not names:
        return dim
    for name in names:
        dim = re.sub(rf"\b{re.escape(name)}\b", str(sizes[name]), dim)
    try:
        value = _value(_parsed(dim), {}, None)
    except (ValueError, ZeroDivisionError):
        return dim
    return value if value >= 0 else dim


def _sizes(spec: ValueSpec, shape: Shape, sizes: Mapping[str, int], guess: Guess) -> Iterator[int]:
    for axis, (dim, free) in enumerate(zip(shape, _free_sizes(shape, guess), strict=True)):
        if isinstance(dim, int):
            yield dim
        elif dim is None:
            yield sizes.get(f"{spec.name}[{axis}]", free)
        else:
            yield sizes[dim] if dim in sizes else _evaluated(dim, sizes, guess.last) or free


def _free_sizes(shape: Shape, guess: Guess) -> list[int]:
    """The guessed size of each axis, were it free."""
    declared = max((axis for axis, dim in enumerate(shape) if isinstance(dim, int)), default=-1)
    return [guess.batch if axis == 0 else guess.last if axis > declared else guess.inner for axis in range(len(shape))]


_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv}


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return None


def _symbols(text: str) -> set[str]:
    """The names in a dimension such as `past_length + 1`, as torch's exporters write them."""
    tree = _parsed(text)
    nodes = list(ast.walk(tree)) if tree else []
    called = {node.func for node in nodes if isinstance(node, ast.Call)}
    return {node.id for node in nodes if isinstance(node, ast.Name) and node not in called}


def _evaluated(text: str, sizes: Mapping[str, int], default: int) -> int | None:
    """The size that a dimension's expression stands for; None when it is none, or not positive."""

    try:
        return max(_value(_parsed(text), sizes, default), 0) or None
    except (ValueError, ZeroDivisionError):
        return None


def _value(node: ast.expr | None, sizes: Mapping[str, int], default: int | None) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name) if name in sizes or default is not None:
            return sizes.get(name, default or 0)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return int(_OPERATORS[type(op)](_value(left, sizes, default), _value(right, sizes, default)))
    raise ValueError
