"""`onnxopt backends`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from onnxopt.cli import given


def backends(
    name: Annotated[str | None, typer.Argument(help="Show this backend, its options too.", show_default=False)] = None,
    json: given.Json = False,
) -> None:
    """List the targets, or show one with its options."""
    import inspect

    from onnxopt.cli.console import print_json, stdout
    from onnxopt.pipeline.backend import backend_class, backend_names
    from onnxopt.pipeline.options import options_of

    listed: list[dict[str, Any]] = []
    for known in backend_names() if name is None else [name]:
        owner = backend_class(known)
        options = [
            {"name": option.name, "type": option.kind.expected, "default": option.default_text, "doc": option.doc}
            for option in options_of(owner)
        ]
        listed.append({"name": known, "doc": inspect.getdoc(owner) or "", "options": options})
    if json:
        print_json(listed)
        return
    from rich.markup import escape

    for facts in listed:
        stdout().print(f"[bold]{facts['name']}[/bold]  {escape(facts['doc'])}")
        for option in facts["options"]:
            stdout().print(f"  {option['name']}={option['default']}  {escape(option['type'])}: {escape(option['doc'])}")
