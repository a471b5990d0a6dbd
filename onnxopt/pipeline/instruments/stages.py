"""The model after the input and after each element of a pipeline as it was written, kept to be measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onnxopt.pipeline.base import Context, Pass
from onnxopt.pipeline.manager import Instrument, PassRun
from onnxopt.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from onnxopt import ir

INPUT = "input"


@dataclass
class Stages(Instrument):
    """Writes a model for the input and for each pass, preset or repeat that the pipeline names.

    A preset is one stage, whatever passes it stands for. One of which no pass had anything to run on has the model of
    the stage before it.
    """

    pipeline: Pipeline
    folder: Path
    """Where models go, as `0.onnx`, `1.onnx`, ...; it is there, and empty."""
    models: list[tuple[str, Path]] = field(default_factory=list)
    """The stages so far, by what the pipeline calls them."""
    _places: dict[int, int] = field(default_factory=dict, repr=False)
    """The element of the pipeline that a pass, by its identity, belongs to."""

    def __post_init__(self) -> None:
        for place, step in enumerate(self.pipeline.elements):
            passes = [step] if isinstance(step, Pass) else step.pipeline.passes()
            self._places |= {id(pass_): place for pass_ in passes}

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """The input model."""
        self._write(INPUT, graph)

    def before(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """Where the pass begins another element: the model as those before it left it."""
        self._close(self._places[id(run.pass_)], graph)

    def finish(self, graph: ir.Graph, ctx: Context) -> None:
        """The model after the last."""
        self._close(len(self.pipeline.elements), graph)

    def _close(self, upto: int, graph: ir.Graph) -> None:
        """Write what the elements before `upto` made, but for those that are written."""
        for place in range(len(self.models) - 1, upto):
            self._write(str(Pipeline((self.pipeline.elements[place],))), graph)

    def _write(self, name: str, graph: ir.Graph) -> None:
        from onnxopt import ir

        path = self.folder / f"{len(self.models)}.onnx"
        ir.save(graph, path, sync=False)
        self.models.append((name, path))
