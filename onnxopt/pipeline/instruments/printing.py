"""The text form of the graph, or its diff, around passes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Instrument, PassRun

if TYPE_CHECKING:
    from onnxopt import ir

ALL = "all"
"""Stands for every pass."""


@dataclass
class Printing(Instrument):
    """Gives texts to `write`: the whole graph before and after the passes named, or what each pass changed."""

    write: Callable[[str], None]
    before_passes: Collection[str] = ()
    """Names of passes, or `all`."""
    after_passes: Collection[str] = ()
    changed: bool = False
    """Also the unified diff of every pass that changed the graph."""
    _text: str = ""

    def start(self, graph: ir.Graph, ctx: Context) -> None:
        """Forget the graph of an earlier run."""
        self._text = ""

    def before(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """The graph as the pass gets it."""
        if self._asked(run, self.before_passes):
            self._print(f"before {run.index} {run.text}", graph)
        if self.changed:
            self._text = self._text or _text(graph)

    def after(self, run: PassRun, graph: ir.Graph, ctx: Context) -> None:
        """The graph as the pass leaves it."""
        if self._asked(run, self.after_passes):
            self._print(f"after {run.index} {run.text}", graph)
        if self.changed and run.changed:
            from onnxopt.ir.diff import unified_texts

            text = _text(graph)
            lines = unified_texts(self._text, text)
            self.write(f"// changed by {run.index} {run.text}\n" + "\n".join(lines))
            self._text = text

    def _asked(self, run: PassRun, names: Collection[str]) -> bool:
        return ALL in names or run.name in names

    def _print(self, title: str, graph: ir.Graph) -> None:
        self.write(f"// {title}\n{_text(graph)}")


def _text(graph: ir.Graph) -> str:
    from onnxopt import ir

    return ir.to_text(graph)
