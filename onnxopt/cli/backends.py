"""`onnxopt backends`."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxopt.cli import given


def backends(
    name: Annotated[str | None, typer.Argument(help="Show this target, its options too.", show_default=False)] = None,
    json: given.Json = False,
) -> None:
    """List the targets, or show one with its options."""
    from onnxopt.cli.console import print_json, print_view
    from onnxopt.pipeline.target import target_names
    from onnxopt.report.catalogue import facts_of_target, pass_view, targets_view

    if name is not None:
        facts = facts_of_target(name)
        print_json(facts) if json else print_view(pass_view(facts))
        return
    listed = [facts_of_target(known) for known in target_names()]
    print_json({"backends": listed}) if json else print_view(targets_view(listed))
