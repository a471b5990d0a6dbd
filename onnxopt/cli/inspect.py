"""`onnxopt inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxopt.cli import given
from onnxopt.errors import BadOption


def inspect(
    model: given.ModelFile,
    text: Annotated[bool, typer.Option("--text", help="Print the graph in ONNX's textual syntax.")] = False,
    node: Annotated[
        str | None,
        typer.Option(help="Show the node of this name, or the one that produces this value.", metavar="NAME"),
    ] = None,
    json: given.Json = False,
) -> None:
    """Show what a model is made of: inputs, outputs, operators, parameters, MACs, memory."""
    from onnxopt import ir
    from onnxopt.cli.console import print_json, print_text, stdout
    from onnxopt.report.inspection import inspection, inspection_view, node_facts

    graph = ir.load(model)
    if text:
        print_text(ir.to_text(graph))
    elif node is not None:
        found = node_facts(graph, node)
        if not found:
            raise BadOption(f"{model}: no node has the name '{node}', and none produces a value of that name")
        print_json(found)
    else:
        facts = inspection(graph)
        print_json(facts) if json else stdout().print(inspection_view(facts))
