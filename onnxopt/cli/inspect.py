"""`onnxopt inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxopt.cli import given
from onnxopt.errors import BadOption


def inspect(
    model: Annotated[
        Path,
        typer.Argument(
            help="An ONNX model, what `lower` makes one of, or an artifact that was emitted of one, such as a DLC.",
            show_default=False,
            readable=False,
        ),
        given.SOURCE,
    ],
    text: Annotated[bool, typer.Option("--text", help="Print the graph in ONNX's textual syntax.")] = False,
    node: Annotated[
        str | None,
        typer.Option(help="Show the node of this name, or the one that produces this value.", metavar="NAME"),
    ] = None,
    dim: given.Dims = None,
    json: given.Json = False,
) -> None:
    """Show what a model is made of: inputs, outputs, operators, parameters, MACs, memory, zeros, encodings, passes.

    Of an emitted artifact, such as a DLC: what the file itself tells, and what its sidecar does.
    """
    from onnxopt import ir
    from onnxopt.cli.console import print_json, print_text, print_view
    from onnxopt.cli.sources import name_of
    from onnxopt.pipeline.backend import backend_of
    from onnxopt.pipeline.suggest import did_you_mean
    from onnxopt.report.artifact import artifact_facts, artifact_view
    from onnxopt.report.inspection import inspection, inspection_view
    from onnxopt.report.node import names_of, node_facts, node_text

    given.exclusive(text=text, node=node is not None)
    given.exclusive(text=text, json=json)
    if (backend := backend_of(model)) is not None:
        if text or node is not None or dim:
            raise BadOption(f"{model} is no ONNX model: of an artifact there is no --text, --node or --dim")
        told = artifact_facts(backend, model)
        print_json(told) if json else print_view(artifact_view(str(model), told))
        return
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
        print_json({"model": name_of(model), **facts}) if json else print_view(inspection_view(name_of(model), facts))
