"""`onnxopt diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxopt.cli import given


def diff(
    before: given.ModelFile,
    after: given.ModelFile,
    text: Annotated[bool, typer.Option("--text", help="The unified diff of the two text forms.")] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write a page that shows both graphs.", metavar="FILE", readable=False)
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where they differ.")] = False,
    json: given.Json = False,
) -> None:
    """Say what differs between two models: nodes, weights and by how much, inputs, outputs, metadata."""
    from onnxopt import ir
    from onnxopt.cli.console import note, print_changes, print_json, print_text

    given.exclusive(text=text, json=json)
    given.require_writable(html)
    one, other = ir.load(before), ir.load(after)
    found = ir.diff(one, other)
    if json:
        print_json({"equal": found.is_empty, **found.to_json()})
    elif found.is_empty:
        print_text("no difference")
    else:
        print_changes("\n".join(ir.unified(one, other)) if text else found.to_text())
    if html is not None:
        from onnxopt.report.inspector.page import write_page
        from onnxopt.report.inspector.story import story_of_two

        write_page(story_of_two(before, after), html)
        note(f"wrote {html}")
    if exit_code and not found.is_empty:
        raise typer.Exit(1)
