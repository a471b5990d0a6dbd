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
    dim: given.Dims = None,
    json: given.Json = False,
) -> None:
    """Show what a model is made of: inputs, outputs, operators, parameters, MACs, memory."""
    from onnxopt import ir
    from onnxopt.cli.console import print_json, print_text, print_view
    from onnxopt.pipeline.suggest import did_you_mean
    from onnxopt.report.inspection import inspection, inspection_view
    from onnxopt.report.node import names_of, node_facts, node_text

    given.exclusive(text=text, node=node is not None)
    given.exclusive(text=text, json=json)
    graph = ir.load(model)
    if text:
        print_text(ir.to_text(graph))
    elif node is not None:
        found = node_facts(graph, node)
        if not found:
            hint = did_you_mean(node, names_of(graph))
            raise BadOption(f"{model}: no node has the name '{node}', and none produces a value of that name{hint}")
        print_json(found) if json else print_text(node_text(found))
    else:
        facts = inspection(graph, given.dims_of(dim))
        print_json({"model": model, **facts}) if json else print_view(inspection_view(str(model), facts))
