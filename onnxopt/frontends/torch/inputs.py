"""Example inputs, flat and by name; and random ones like them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from onnxopt.errors import BadModel, BadOption
from onnxopt.frontends.wanted import Example

Axes = Mapping[str, Mapping[int, str]]
"""The symbols of dynamic axes, by input."""


@dataclass(frozen=True)
class Inputs:
    """What a module is called with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    names: tuple[str, ...]
    """Of the tensors in them, flat."""

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The tensors, flat, in the order of `names`."""
        return [leaf for leaf in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(leaf, torch.Tensor)]

    def with_tensors(self, tensors: Sequence[torch.Tensor]) -> Inputs:
        """The same call on other tensors."""
        leaves, spec = pytree.tree_flatten((self.args, self.kwargs))
        pending = iter(tensors)
        args, kwargs = pytree.tree_unflatten(
            [next(pending) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves], spec
        )
        return Inputs(args, kwargs, self.names)

    def by_tensor(self, found: Mapping[str, Any]) -> tuple[Any, Any]:
        """What is `found` by name, each in the place of its tensor; None elsewhere."""
        leaves, spec = pytree.tree_flatten((self.args, self.kwargs))
        names = iter(self.names)
        args, kwargs = pytree.tree_unflatten(
            [found.get(next(names)) if isinstance(leaf, torch.Tensor) else None for leaf in leaves], spec
        )
        return args, kwargs


def inputs_of(given: Any, forward: Any, names: Sequence[str], where: str) -> Inputs:
    """The inputs as a function gives them: a tensor, a tuple or list of arguments, or a dict of them by name.

    Raises:
        BadModel: There are no tensors among them.
        BadOption: There are not as many as names.
    """
    args = given if isinstance(given, tuple) else tuple(given) if isinstance(given, list) else (given,)
    args, kwargs = ((), dict(given)) if isinstance(given, Mapping) else (args, {})
    parameters = _parameters(forward)
    if kwargs and parameters:  # exporters take them in the order of the signature
        kwargs = {name: kwargs[name] for name in parameters if name in kwargs} | kwargs
        while parameters and parameters[0] in kwargs and kwargs[parameters[0]] is not None:
            args += (kwargs.pop(parameters.pop(0)),)
    inputs = Inputs(args, kwargs, ())
    count = len(inputs.tensors)
    if not count:
        raise BadModel(
            f"{where}: the example inputs have no tensors: give a tensor, a tuple, or a dict of them by name"
        )
    if names and len(names) != count:
        raise BadOption(f"--input-names has {len(names)} names, and {where} takes {count} tensors")
    return Inputs(args, kwargs, tuple(names) or _names(args, kwargs, _parameters(forward)))


def examples(wanted: Sequence[Example]) -> tuple[torch.Tensor, ...]:
    """Tensors of these shapes: floats N(0, 1), integers zero or one, which are indices of anything.

    Raises:
        BadOption: There is no such dtype.
    """
    made = []
    for example in wanted:
        dtype = getattr(torch, {"bool": "bool"}.get(example.dtype, example.dtype), None)
        if not isinstance(dtype, torch.dtype):
            raise BadOption(f"--input {example.name}: torch has no dtype {example.dtype}; there is float32, int64, ...")
        made.append(
            torch.randn(example.shape, dtype=dtype)
            if dtype.is_floating_point
            else torch.randint(0, 2, example.shape).to(dtype)
        )
    return tuple(made)


def resized(inputs: Inputs, axes: Axes, more: int) -> Inputs:
    """The same call with every dynamic dimension larger by `more`, its values repeated."""
    sizes: dict[str, int] = {}
    tensors = []
    for name, tensor in zip(inputs.names, inputs.tensors, strict=True):
        for axis, symbol in axes.get(name, {}).items():
            size = sizes.setdefault(symbol, tensor.shape[axis] + more)
            tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
        tensors.append(tensor)
    return inputs.with_tensors(tensors)


def like(inputs: Inputs, seed: int) -> Inputs:
    """Random inputs of the same shapes: drawn from the values of the example's, integers between its extremes.

    A float tensor of zeros becomes N(0, 1); any other constant, such as a mask of ones, stays.
    """
    random = torch.Generator().manual_seed(seed)
    return inputs.with_tensors([_like(tensor, random) for tensor in inputs.tensors])


def _like(tensor: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    if not tensor.numel():
        return tensor
    if tensor.is_floating_point() and not tensor.any():
        return torch.randn(tensor.shape, generator=random).to(tensor.dtype)
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex or tensor.dtype == torch.bool:
        return tensor.flatten()[torch.randint(0, tensor.numel(), tensor.shape, generator=random)]
    low, high = int(tensor.min()), int(tensor.max())
    return torch.randint(low, high + 1, tensor.shape, generator=random).to(tensor.dtype)


def _parameters(forward: Any) -> list[str]:
    try:
        found = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):  # a function of C++
        return []
    return [one.name for one in found if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]


def _names(args: tuple[Any, ...], kwargs: dict[str, Any], parameters: list[str]) -> tuple[str, ...]:
    """A name for each tensor: that of its parameter, with a number where that holds several."""
    labelled = [*zip([*parameters, *(f"input_{i}" for i in range(len(parameters), len(args)))], args, strict=False)]
    found: list[str] = []
    for name, value in (*labelled, *kwargs.items()):
        count = sum(isinstance(leaf, torch.Tensor) for leaf in pytree.tree_leaves(value))
        found += [name] if count == 1 else [f"{name}_{index}" for index in range(count)]
    return tuple(found)
