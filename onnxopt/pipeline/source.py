"""Where the graph of a run comes from, so that it can be had again, as it was."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto

    from onnxopt import ir

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Source:
    """A model: its file, its proto, or its graph. None of them is ever changed."""

    origin: Any
    given: str = ""
    """What messages call it, where it is not its own name: the source that a file was lowered from."""

    @classmethod
    def of(cls, model: str | Path | ModelProto | ir.Graph | Source) -> Source:
        """The source that `model` names.

        Raises:
            TypeError: It is none of these.
        """
        from onnx import ModelProto

        from onnxopt import ir

        if isinstance(model, Source):
            return model
        if isinstance(model, str):
            return cls(Path(model))
        if isinstance(model, (Path, ModelProto, ir.Graph)):
            return cls(model)
        raise TypeError(f"a model is a path, a ModelProto or an onnxopt.ir.Graph, not {type(model).__name__}")

    @property
    def path(self) -> Path | None:
        """The model's file, where it has one."""
        return self.origin if isinstance(self.origin, Path) else None

    @property
    def name(self) -> str:
        """The model as messages name it."""
        return self.given or (str(self.path) if self.path else "the model")

    def load(self) -> ir.Graph:
        """A graph of the caller's own, the same at every call.

        Raises:
            BadModel: The file or the proto is no model.
        """
        from onnxopt import ir

        if isinstance(self.origin, Path):
            return ir.load(self.origin)
        if isinstance(self.origin, ir.Graph):
            return self.origin.copy()
        return ir.from_proto(self.origin)

    def sha256(self) -> str | None:
        """Of the model's file, in hex, external data apart; None where there is no file."""
        if self.path is None:
            return None
        digest = hashlib.sha256()
        with self.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()
