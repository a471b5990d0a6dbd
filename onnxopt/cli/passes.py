"""`onnxopt passes`."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxopt.cli import given


def passes(
    name: Annotated[
        str | None, typer.Argument(help="Show this pass or preset, with its options.", show_default=False)
    ] = None,
    plugin: given.Plugins = None,
    json: given.Json = False,
) -> None:
    """List the passes and presets, or show one with its options."""
    from onnxopt.cli.console import print_json, print_view
    from onnxopt.pipeline.presets import PRESETS
    from onnxopt.pipeline.registry import Registry
    from onnxopt.report.catalogue import facts_of_all, facts_of_pass, facts_of_preset, pass_view, passes_view

    registry = Registry.installed()
    for file in plugin or ():
        registry.load_plugin(file)
    if name is None:
        facts = facts_of_all(registry)
        print_json(facts) if json else print_view(passes_view(facts))
    else:
        shown = facts_of_preset(name, registry) if name in PRESETS else facts_of_pass(name, registry)
        print_json(shown) if json else print_view(pass_view(shown))
