"""The shapes that inputs may have: `input:1x3x224x224..8x3x224x224`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from onnxopt import ir
from onnxopt.backends.tensorrt.wanted import Profile
from onnxopt.errors import BadOption
from onnxopt.pipeline.backend import Problem
from onnxopt.pipeline.suggest import did_you_mean
from onnxopt.pipeline.values import quote

_SIZES = re.compile(r"\d+(x\d+)*", re.ASCII)
_FORM = "write 1x3x224x224..8x3x224x224 (least and largest), or three of them (least, best, largest)"


def parse(option: str, name: str, text: str) -> Profile:
    """One shape, the least and the largest, or the least, the one to be fastest at, and the largest.

    Of two, the builder optimizes for the largest, where most time is spent.

    Raises:
        ValueError: It cannot be read, the ranks differ, or the order is another.
    """
    parts = text.split("..")
    if not all(_SIZES.fullmatch(part) for part in parts) or len(parts) > 3:
        raise ValueError(f"{option} of '{name}' is {text!r}: {_FORM}")
    sizes = [tuple(map(int, part.split("x"))) for part in parts]
    least, best, largest = sizes[0], sizes[len(sizes) // 2], sizes[-1]
    if len({len(each) for each in sizes}) > 1:
        raise ValueError(f"{option} of '{name}' is {text!r}: they differ in their number of dimensions")
    if not all(a <= b <= c for a, b, c in zip(least, best, largest, strict=True)):
        raise ValueError(f"{option} of '{name}' is {text!r}: no size may be more than the next one has it")
    return Profile(least, best, largest)


def require_fit(graph: ir.Graph, profiles: Mapping[str, Profile], values: Iterable[str]) -> None:
    """Refuse shapes of inputs that are not there or look otherwise.

    Raises:
        BadOption: Such a one; it names the input and the dimension.
    """
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    for option, names in (("shapes", profiles), ("values", values)):
        for name in names:
            if name not in inputs:
                known = f"; there are: {', '.join(inputs) or 'none'}"
                raise BadOption(f"{option}: there is no input '{name}'{did_you_mean(name, list(inputs), known)}")
    ranges: dict[str, tuple[str, tuple[int, int]]] = {}
    for name, profile in profiles.items():
        declared = inputs[name].shape
        if declared is None:
            continue
        if len(declared) != len(profile.min):
            raise BadOption(f"shapes: '{name}' has {len(declared)} dimensions, {_shown(declared)}, and "
                            f"{len(profile.min)} are given")  # fmt: skip
        for axis, size in enumerate(declared):
            given = profile.min[axis], profile.max[axis]
            if isinstance(size, int) and given != (size, size):
                raise BadOption(f"shapes: dimension {axis} of '{name}' is {size} in the model, and {_range(given)} is "
                                "given")  # fmt: skip
            if isinstance(size, str) and size:
                other, known_range = ranges.setdefault(size, (name, given))
                if known_range != given:
                    raise BadOption(f"shapes: the dimension {size} is {_range(known_range)} in '{other}' and "
                                    f"{_range(given)} in '{name}': give both the same")  # fmt: skip


def missing(graph: ir.Graph, profiles: Mapping[str, Profile]) -> list[Problem]:
    """Inputs of dynamic shape for which none are given, with what to write."""
    found = []
    for tensor in graph.inputs:
        if tensor.shape is None:
            found.append(
                Problem(f"input '{tensor.name}'", "has no shape, not even a number of dimensions: declare one")
            )
            continue
        dynamic = [axis for axis, size in enumerate(tensor.shape) if not isinstance(size, int)]
        if not dynamic or tensor.name in profiles:
            continue
        named = ", ".join(f"{axis} ({tensor.shape[axis]})" if tensor.shape[axis] else str(axis) for axis in dynamic)
        found.append(
            Problem(
                f"input '{tensor.name}'",
                f"dimension{'s' * (len(dynamic) > 1)} {named} {'is' if len(dynamic) == 1 else 'are'} dynamic: say "
                f"which sizes it may have, such as shapes={suggestion(tensor)}, or run freeze-shapes before",
            )
        )
    return found


def suggestion(tensor: ir.Variable) -> str:
    """What the option may look like: 1 to 8 for what is dynamic."""
    sizes = [[size if isinstance(size, int) else end for size in tensor.shape or ()] for end in (1, 8)]
    return f"{quote(tensor.name)}:" + "..".join("x".join(map(str, each)) for each in sizes)


def facts(profiles: Mapping[str, Profile]) -> dict[str, dict[str, list[int]]]:
    """As the sidecar has them."""
    return {
        name: {"min": list(each.min), "opt": list(each.opt), "max": list(each.max)} for name, each in profiles.items()
    }


def _shown(shape: Iterable[int | str | None]) -> str:
    return "x".join(str(size or "?") for size in shape)


def _range(given: tuple[int, int]) -> str:
    return str(given[0]) if given[0] == given[1] else f"{given[0]}..{given[1]}"
