"""What every command takes that runs passes on a model: declared once, read once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, get_type_hints

from onnxopt.cli import given

if TYPE_CHECKING:
    from onnxopt.data import DataSet
    from onnxopt.pipeline.recipe import Recipe


@dataclass(frozen=True)
class Asked:
    """The model and the passes, as they were given on the command line."""

    model: given.ModelFile
    passes: given.Passes = None
    level: given.Level = None
    data: given.Data = None
    target: given.Target = None
    plugin: given.Plugins = None
    dim: given.Dims = None

    @cached_property
    def recipe(self) -> Recipe:
        """The pipeline asked for, and what its file says beside it.

        Raises:
            OnnxoptError: As `given.recipe_of` does.
        """
        return given.recipe_of(self.passes, self.level, self.plugin)

    @property
    def dims(self) -> dict[str, int]:
        """Sizes of symbolic dimensions.

        Raises:
            BadOption: One cannot be read.
        """
        return given.dims_of(self.dim)

    def samples(self, recipe: Recipe | None) -> DataSet | None:
        """The calibration set: what the command line names comes before what the recipe does."""
        name = self.data or (recipe.data if recipe else None)
        return given.samples_of(self.model, name, recipe.pipeline if recipe else None)

    def target_of(self, recipe: Recipe | None) -> str | None:
        """The target: what the command line names comes before what the recipe does."""
        return self.target or (recipe.target if recipe else None)


def takes_passes(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer, which takes each field of `Asked` where the given one takes an `Asked` first."""
    hints = get_type_hints(Asked, include_extras=True) | get_type_hints(command, include_extras=True)
    shared = inspect.signature(Asked).parameters
    _, *own = inspect.signature(command).parameters.values()

    @wraps(command)
    def taking(**options: Any) -> None:
        command(Asked(**{name: options.pop(name) for name in shared}), **options)

    parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in (*shared.values(), *own)]
    taking.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer looks at
    return taking
