"""What a target is to the passes that prepare a graph for it."""

from __future__ import annotations

import functools
import pkgutil
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

from onnxopt.errors import BadOption
from onnxopt.pipeline.defined import defined_in
from onnxopt.pipeline.dialect import ONNXRUNTIME, Dialect
from onnxopt.pipeline.quantization import QuantizationRules
from onnxopt.pipeline.suggest import did_you_mean

PACKAGE = "onnxopt.backends"
"""A module or a folder for each target, named like it, with underscores for hyphens."""


@dataclass(frozen=True)
class Target:
    """A target that graphs are prepared for. One that can also be written is a `Backend`."""

    graphs_of: ClassVar[str] = ""
    """The target that graphs are prepared for in every way alike, such as the one that a kit is for."""

    @classmethod
    def dialect(cls) -> Dialect:
        """How it likes computations to be spelled; as onnxruntime does where it does not say."""
        return ONNXRUNTIME

    @classmethod
    def quantization(cls) -> QuantizationRules:
        """Which tensors it wants as integers, and as which.

        Raises:
            BadOption: It does not say.
        """
        raise BadOption(f"the target {cls.__name__.lower()} has no rules for quantization")


def target_names() -> list[str]:
    """The built-in targets, by file name."""
    found = (module.name for module in pkgutil.iter_modules(import_module(PACKAGE).__path__))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def distinct_targets() -> list[str]:
    """Those of which no two have the same graphs."""
    return [name for name in target_names() if not target_class(name).graphs_of]


@functools.cache
def target_class(name: str) -> type[Target]:
    """The target of that name.

    Raises:
        BadOption: There is none, or a package that it needs is not installed.
    """
    if name not in target_names():
        known = f"; there are: {', '.join(target_names())}"
        raise BadOption(f"there is no target '{name}'" + did_you_mean(name, target_names(), known))
    try:
        module = import_module(f"{PACKAGE}.{name.replace('-', '_')}")
    except ImportError as error:
        raise BadOption(f"the target {name} cannot be used here: {error}; install its package") from error
    found: list[type[Target]] = defined_in(module, Target)
    if len(found) != 1:
        raise TypeError(f"{module.__name__}: expected one Target, found {len(found)}")
    return found[0]


def quantization_rules(target: str | None) -> QuantizationRules:
    """The rules of the target that a graph is prepared for; those of `onnx` for none in particular.

    Raises:
        BadOption: There is no such target, or it has no rules.
    """
    return target_class(target or "onnx").quantization()
