"""The classes of one kind that a module defines: what the registry of passes and that of backends look for."""

from __future__ import annotations

import inspect
from types import GenericAlias, ModuleType
from typing import Any


def defined_in(module: ModuleType, base: Any) -> list[Any]:  # mypy takes no abstract class for a `type[T]`
    """The public concrete subclasses of `base` in the order of the file, imports and aliases aside."""
    found = dict.fromkeys(value for value in vars(module).values() if is_concrete(value, base))
    return [cls for cls in found if cls.__module__ == module.__name__ and not cls.__name__.startswith("_")]


def is_concrete(value: Any, base: Any) -> bool:
    """Whether a value is a subclass of `base` that can be made."""
    if not isinstance(value, type) or isinstance(value, GenericAlias):  # Python 3.10 calls `list[int]` a type
        return False
    return issubclass(value, base) and not inspect.isabstract(value)
