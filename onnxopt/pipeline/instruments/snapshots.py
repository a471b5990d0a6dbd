"""Numbered models and texts, before the first pass and after each that changed the graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnxopt.atomic import replacing
from onnxopt.errors import OnnxoptError
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument, PassRun

if TYPE_CHECKING:
    from onnxopt import ir


@dataclass
class Snapshots(Instrument):
    """Writes `00-input.onnx` and `.txt`, then `01-PASS.onnx` and `.txt`, ...

    The graph before pass N is the newest snapshot numbered below N: a pass that changed nothing leaves none.
    """

    folder: Path

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """The input model."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OnnxoptError(f"cannot write snapshots into {self.folder}: {error.strerror}") from error
        self._write("00-input", graph)

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """The model after a pass."""
        if run.changed:
            self._write(f"{run.index:02}-{run.name}", graph)

    def _write(self, stem: str, graph: ir.Graph) -> None:
        from onnxopt import ir

        ir.save(graph, self.folder / f"{stem}.onnx", sync=False)
        with replacing(self.folder / f"{stem}.txt", sync=False) as file:
            file.write(ir.to_text(graph).encode())
