"""`onnxopt diff`."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxopt.cli import given


def diff(
    before: given.ModelFile,
    after: given.ModelFile,
    text: Annotated[bool, typer.Option("--text", help="The unified diff of the two text forms.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 where they differ.")] = False,
    json: given.Json = False,
) -> None:
    """Say what differs between two models: nodes, weights and by how much, inputs, outputs, metadata."""
    from onnxopt import ir
    from onnxopt.cli.console import print_json, print_text

    given.exclusive(text=text, json=json)
    one, other = ir.load(before), ir.load(after)
    found = ir.diff(one, other)
    if json:
        print_json({"equal": found.is_empty, **found.to_json()})
    elif found.is_empty:
        print_text("no difference")
    else:
        print_text("\n".join(ir.unified(one, other)) if text else found.to_text())
    if exit_code and not found.is_empty:
        raise typer.Exit(1)
