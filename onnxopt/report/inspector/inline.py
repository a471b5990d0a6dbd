"""The page of a finished run, for notebooks."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnxopt.report.inspector.page import page, write_page
from onnxopt.report.inspector.story import Story, story_of_graphs, story_of_run
from onnxopt.report.summary import Summary

if TYPE_CHECKING:
    from onnxopt.api import RunResult


@dataclass(frozen=True)
class Report:
    """A page that shows itself where HTML is shown."""

    story: Story

    def save(self, path: str | Path) -> None:
        """Write it, atomically.

        Raises:
            OnnxoptError: It cannot be written.
        """
        write_page(self.story, Path(path))

    def _repr_html_(self) -> str:
        """In a frame of its own, so that its style and script meet nobody else's."""
        return (
            f'<iframe srcdoc="{html.escape(page(self.story))}" sandbox="allow-scripts" title="onnxopt" '
            'style="width: 100%; height: 720px; border: 1px solid #8884"></iframe>'
        )


def report_of(result: RunResult) -> Report:
    """Of every pass where the run recorded them; else of what went in and what came out.

    Raises:
        BadModel: The source cannot be read any more.
    """
    if result.recording is not None:
        return Report(story_of_run(Summary.of(result), result.recording))
    title = result.source.path.name if result.source.path else result.source.name
    graphs = [("input", result.source.load()), (str(result.pipeline), result.graph)]
    return Report(story_of_graphs(title, graphs))
