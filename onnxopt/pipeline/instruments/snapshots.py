"""Numbered models and texts, before the first pass and after each that changed the graph."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnxopt.atomic import replacing
from onnxopt.errors import OnnxoptError
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument, PassRun

if TYPE_CHECKING:
    from onnxopt import ir

_OURS = re.compile(r"\d{3,}-[\w-]+\.(onnx|txt)")


@dataclass
class Snapshots(Instrument):
    """Writes `000-input.onnx` and `.txt`, then `001-PASS.onnx` and `.txt`, ...

    The graph before pass N is the newest snapshot numbered below N: a pass that changed nothing leaves none.

    Raises:
        OnnxoptError: From `start`, where the folder cannot be made, or holds the snapshots of an earlier run.
    """

    folder: Path

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """The input model."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            earlier = sorted(path.name for path in self.folder.iterdir() if _OURS.fullmatch(path.name))
        except OSError as error:
            raise OnnxoptError(f"cannot write snapshots into {self.folder}: {error.strerror}") from error
        if earlier:  # two runs in one folder could not be told apart
            raise OnnxoptError(
                f"{self.folder} holds snapshots of an earlier run ({earlier[0]}): empty it, or name another"
            )
        self._write("000-input", graph)

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """The model after a pass."""
        if run.changed:
            self._write(f"{run.index:03}-{run.name}", graph)

    def _write(self, stem: str, graph: ir.Graph) -> None:
        from onnxopt import ir

        ir.save(graph, self.folder / f"{stem}.onnx", sync=False)
        with replacing(self.folder / f"{stem}.txt", sync=False) as file:
            file.write(ir.to_text(graph).encode())
