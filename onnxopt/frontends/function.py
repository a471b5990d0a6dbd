"""What `module:function` returns: a model and what goes with it. Importing it runs the user's code, as asked."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from onnxopt.errors import BadModel


def called(spec: str) -> tuple[Any, Any]:
    """Import the module from the working directory or the path, call the function without arguments.

    Returns:
        The model, and what came with it as the second of a pair: example inputs, or rows; None where nothing did.

    Raises:
        BadModel: There is no such module or function, or it raised.
    """
    module, _, name = spec.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module may raise anything
        raise BadModel(f"{spec} cannot be imported: {type(error).__name__}: {error}") from error
    try:
        made = function()
    except Exception as error:  # and so may the function
        raise BadModel(f"{spec} raised {type(error).__name__}: {error}") from error
    if isinstance(made, tuple) and len(made) == 2:
        return made
    return made, None
