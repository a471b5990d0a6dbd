"""`onnxopt verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxopt.cli import given
from onnxopt.errors import BadOption, CheckFailed


def verify(
    reference: given.ModelFile,
    model: given.ModelFile,
    data: given.Data = None,
    samples: Annotated[int, typer.Option(min=1, help="How many samples, or generated inputs.", metavar="N")] = 64,
    promise: Annotated[
        str,
        typer.Option(help="What must hold: bits, values (reassociation), accuracy (only measured).", metavar="WHAT"),
    ] = "values",
    dim: given.Dims = None,
    json: given.Json = False,
) -> None:
    """Run two models on the same inputs and compare every output."""
    from onnxopt.cli.console import print_json, print_view, warn
    from onnxopt.cli.progress import Progress
    from onnxopt.pipeline.suggest import did_you_mean
    from onnxopt.report.comparison import comparison_json, comparison_table
    from onnxopt.runtime.compare import Tolerance
    from onnxopt.runtime.comparison import compare_models

    given.exclusive(data=data is not None, dim=bool(dim))
    known = [tolerance.value for tolerance in Tolerance]
    if promise not in known:
        raise BadOption(
            f"--promise {promise}: there is no such{did_you_mean(promise, known)}; it is one of {', '.join(known)}"
        )
    with Progress() as progress:
        found = compare_models(reference, model, Tolerance(promise), data, samples, given.dims_of(dim), progress.report)
    warn(found.notes)
    print_json(comparison_json(found)) if json else print_view(comparison_table(found))
    broken = [difference for difference in found.differences if not difference.ok]
    if broken:
        more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise CheckFailed(f"{model} differs from {reference}: {broken[0]}{more}")
