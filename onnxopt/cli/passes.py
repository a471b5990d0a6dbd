"""`onnxopt passes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxopt.cli import given

if TYPE_CHECKING:
    from onnxopt.pipeline.base import Pass
    from onnxopt.pipeline.registry import Registry


def passes(
    name: Annotated[str | None, typer.Argument(help="Show this pass, its options too.", show_default=False)] = None,
    plugin: given.Plugins = None,
    json: given.Json = False,
) -> None:
    """List the passes and presets, or show one pass with its options."""
    from onnxopt.cli.console import print_json, stdout
    from onnxopt.pipeline.presets import PRESETS

    registry = given.registry_with(plugin)
    if name is not None:
        facts = described(registry, name)
        print_json(facts) if json else _show(facts)
        return
    if json:
        listed = [described(registry, known) for known in registry.names()]
        print_json({"passes": listed, "presets": PRESETS})
        return
    from rich.table import Table

    table = Table("pass", "preserves", "", box=None, pad_edge=False)
    for known in registry.names():
        table.add_row(known, registry.get(known).preserves.value, registry.summary(known))
    for preset, text in PRESETS.items():
        table.add_row(preset, "", text, style="dim")
    stdout().print(table)


def described(registry: Registry, name: str) -> dict[str, Any]:
    """Everything that is known of a pass: its docstring, promise and options."""
    import inspect

    from onnxopt.pipeline.options import options_of

    owner: type[Pass] = registry.get(name)
    return {
        "name": name,
        "preserves": owner.preserves.value,
        "doc": inspect.getdoc(owner) or "",
        "options": [
            {
                "name": option.name,
                "type": option.kind.expected,
                "default": None if option.required else option.default_text,
                "doc": option.doc,
            }
            for option in options_of(owner)
        ],
        "from": registry.where(name),
    }


def _show(facts: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from onnxopt.cli.console import stdout

    out = stdout()
    out.print(f"[bold]{facts['name']}[/bold]  preserves {facts['preserves']}\n\n{escape(facts['doc'])}")
    if facts["options"]:
        table = Table("option", "type", "default", "", box=None, pad_edge=False)
        for option in facts["options"]:
            default = "required" if option["default"] is None else option["default"]
            table.add_row(option["name"], option["type"], default, option["doc"])
        out.print()
        out.print(table)
