"""Samples from a user's own function."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from onnxopt.data.layout import Sample
from onnxopt.errors import BadData


class Function:
    """`module:function`, imported from the working directory or the path; called without arguments on each pass.

    It yields (or returns an iterable of) dicts by input name, one sample each.

    Raises:
        BadData: there is no such module or function, it raised, or it yields something else than dicts.
    """

    def __init__(self, spec: str) -> None:
        self._spec = spec
        module, _, name = spec.partition(":")
        here = str(Path.cwd())
        sys.path.insert(0, here)
        try:
            self._function: Callable[[], Any] = getattr(importlib.import_module(module), name)
        except Exception as error:  # a user's module may raise anything
            raise BadData(f"--data {spec} cannot be imported: {type(error).__name__}: {error}") from error
        finally:
            sys.path.remove(here)

    def samples(self) -> Iterator[Sample]:
        """Call the function, and pass on what it yields."""
        try:
            yielded = iter(self._function())
        except Exception as error:  # and so may a user's function
            raise self._failed(error) from error
        while True:
            try:
                sample = next(yielded, None)
            except Exception as error:  # or its generator
                raise self._failed(error) from error
            if sample is None:
                return
            if not isinstance(sample, Mapping):
                raise BadData(f"--data {self._spec} must yield dicts by input name, it yielded {type(sample).__name__}")
            yield sample

    def _failed(self, error: Exception) -> BadData:
        return BadData(f"--data {self._spec} raised {type(error).__name__}: {error}")
