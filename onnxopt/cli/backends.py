"""`onnxopt backends`."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxopt.cli import given


def backends(
    name: Annotated[str | None, typer.Argument(help="Show this backend, its options too.", show_default=False)] = None,
    json: given.Json = False,
) -> None:
    """List the targets, or show one with its options."""
    from onnxopt.cli.console import print_json, print_view
    from onnxopt.pipeline.backend import backend_names
    from onnxopt.report.catalogue import backends_view, facts_of_backend, pass_view

    if name is not None:
        facts = facts_of_backend(name)
        print_json(facts) if json else print_view(pass_view(facts))
        return
    listed = [facts_of_backend(known) for known in backend_names()]
    print_json({"backends": listed}) if json else print_view(backends_view(listed))
