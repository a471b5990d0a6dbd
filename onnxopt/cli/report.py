"""`onnxopt report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxopt.cli import given


def report(
    snapshots: Annotated[
        Path, typer.Argument(help="The folder that run --snapshots wrote.", show_default=False, readable=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Write the page here.", metavar="HTML", readable=False)
    ],
) -> None:
    """Write a page that shows the graph before and after every pass, from snapshots."""
    from onnxopt.cli.console import note
    from onnxopt.pipeline.sidecar import artifact_bytes
    from onnxopt.report.inspector.page import write_page
    from onnxopt.report.inspector.story import story_of_snapshots
    from onnxopt.report.units import size

    given.require_writable(output)
    write_page(story_of_snapshots(snapshots), output)
    note(f"wrote {output}, {size(artifact_bytes(output))}")
