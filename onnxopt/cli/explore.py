"""`onnxopt explore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxopt.cli import given
from onnxopt.errors import BadOption


def explore(
    model: given.ModelFile,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where w writes the graph to.", metavar="FILE", readable=False),
    ] = None,
    data: given.Data = None,
    target: given.Target = None,
    plugin: given.Plugins = None,
) -> None:
    """Browse a model full-screen: try passes on it and undo them, listing only those that would change it."""
    import sys

    from onnxopt import ir
    from onnxopt.pipeline.registry import Registry
    from onnxopt.report.explorer.trials import Trials

    given.require_writable(output)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadOption("explore is for a terminal: use onnxopt run --print-changed, or --report, elsewhere")
    try:
        from onnxopt.report.explorer.screen import Explorer
    except ModuleNotFoundError as error:
        raise BadOption("explore needs textual: pip install 'onnxopt[tui]'") from error
    registry = Registry.installed()
    for path in plugin or ():
        registry.load_plugin(path)
    trials = Trials(ir.load(model), registry, given.samples_of(model, data), target)
    Explorer(trials, model.name, output).run()
