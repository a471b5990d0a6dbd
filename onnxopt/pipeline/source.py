"""Where the graph of a run comes from, so that it can be had again, as it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto

    from onnxopt import ir


@dataclass(frozen=True)
class Source:
    """A model: its file, its proto, or its graph. None of them is ever changed."""

    origin: Any

    @classmethod
    def of(cls, model: str | Path | ModelProto | ir.Graph | Source) -> Source:
        """The source that `model` names."""
        if isinstance(model, Source):
            return model
        return cls(Path(model) if isinstance(model, str) else model)

    @property
    def path(self) -> Path | None:
        """The model's file, where it has one."""
        return self.origin if isinstance(self.origin, Path) else None

    @property
    def name(self) -> str:
        """The model as messages name it."""
        return str(self.path) if self.path else "the model"

    def load(self) -> ir.Graph:
        """A graph of the caller's own, the same at every call."""
        from onnxopt import ir

        if isinstance(self.origin, Path):
            return ir.load(self.origin)
        if isinstance(self.origin, ir.Graph):
            return self.origin.copy()
        return ir.from_proto(self.origin)
