"""The name of a model's external data: one that harms neither the model that is replaced nor those beside it."""

from __future__ import annotations

import re
from pathlib import Path

from onnx import StringStringEntryProto

_CHUNK = 1 << 20
_MODEL_LIMIT = 2**31
"""Bytes; protobuf reads no larger message."""


class DataNames:
    """The files beside the model at `path` that are named as its external data: `NAME.data`, `NAME.1.data`, ..."""

    def __init__(self, path: Path) -> None:
        self._model = path
        folder = list(path.parent.iterdir()) if path.parent.is_dir() else []
        ours = re.compile(re.escape(path.name) + r"(\.\d+)?\.data")
        self._existing = [file.name for file in folder if ours.fullmatch(file.name)]
        self._current: set[str] = set()
        """Those that the model at `path` uses."""
        self._foreign: set[str] = set()
        """Those that another model beside it uses."""
        for file in folder if self._existing else ():
            self._look_into(file)

    def _look_into(self, file: Path) -> None:
        try:
            if file.name == self._model.name:
                self._current = _mentioned(file, {name: _entry(name) for name in self._existing})
            elif ".onnx" in file.name and not file.name.endswith("data"):
                self._foreign |= _mentioned(file, {name: name.encode() for name in self._existing})
        except OSError:  # what we may not read may need them all
            self._foreign.update(self._existing)

    def free(self) -> str:
        """A name for new data: one that no model here uses, so that the old model keeps its data until the last step.

        `X.onnx.data` may exist if no model mentions it: a process was killed, or the model that used it is gone.
        """
        taken = self._current | self._foreign
        if ".onnx" not in self._model.name:  # the data of `X` would be `X.data`, which may be anything
            taken.update(self._existing)
        number, name = 0, f"{self._model.name}.data"
        while name in taken:
            number += 1
            name = f"{self._model.name}.{number}.data"
        return name

    def remove_orphan(self, name: str) -> None:
        """Remove data of this name if no model here mentions them: the one that would have was not written."""
        if name in self._existing and name not in self._current | self._foreign:
            (self._model.parent / name).unlink(missing_ok=True)

    def remove_stale(self) -> None:
        """Remove the data of the model that was replaced, unless another model, such as a copy of it, mentions them."""
        for name in self._current - self._foreign:
            (self._model.parent / name).unlink(missing_ok=True)


def _entry(name: str) -> bytes:
    """How a model file refers to external data."""
    return StringStringEntryProto(key="location", value=name).SerializeToString()


def _mentioned(path: Path, needles: dict[str, bytes]) -> set[str]:
    """The keys of the byte strings that a file holds; none where the file is too large for a model."""
    found: set[str] = set()
    if not path.is_file() or path.stat().st_size >= _MODEL_LIMIT:
        return found
    overlap = max(map(len, needles.values())) - 1
    with path.open("rb") as file:
        tail = b""
        while chunk := file.read(_CHUNK):
            window = tail + chunk
            found.update(name for name, needle in needles.items() if needle in window)
            tail = window[-overlap:]
    return found
