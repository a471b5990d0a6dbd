"""`onnxopt reduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxopt.cli import given
from onnxopt.cli.asked import Asked, takes_passes

_SEARCH = "Search"


@takes_passes
def reduce(
    asked: Asked,
    check: Annotated[
        str | None,
        typer.Option(
            help="A shell command that tells a failure by its exit status. In it {model} is the model that the passes "
            "made, or the candidate itself without passes, {input} the candidate before the passes, {data} an .npz "
            "of its inputs; a command that names no model gets {model} at its end.",
            metavar="COMMAND",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            help="Stop a candidate after so many seconds; that counts as a failure of its own kind.",
            metavar="S",
            min=0.1,
            rich_help_panel=_SEARCH,
        ),
    ] = 60.0,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            "--max-seconds",
            help="End the search after so many seconds, with the smallest model so far.",
            metavar="S",
            min=0,
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Write the reduced model here, and its inputs beside it as an .npz; default MODEL.reduced.onnx.",
            metavar="FILE",
            rich_help_panel="What comes out",
            readable=False,
        ),
    ] = None,
    json: given.Json = False,
) -> None:
    """Find the fewest passes and the smallest model that still fail the same way.

    A failure is any of these: a pass raises; what a pass made is refused, as
    --verify-each would; the process crashes; a candidate takes too long;
    with --check, the command ends with another status than 0.

    Two failures are the same if they are of the same pass and the same kind:
    the same exception from the same lines, the same complaint, the same
    signal, the same exit status of the command.

    Passes are left out first, then parts of the model, large ones before
    small ones; values that lose their node become inputs with the numbers
    that they had. In the end the failure needs every pass and node there is.

    The status 125 of a --check command says that it cannot tell, as for
    `git bisect run`: such a candidate is not kept.

    Exit status: 0 reduced, 1 the model does not fail in the first place,
    2 wrong use or bad input.
    """
    from onnxopt.cli.console import print_json, print_text
    from onnxopt.cli.progress import Progress
    from onnxopt.cli.sources import source_of
    from onnxopt.errors import BadOption
    from onnxopt.pipeline.reduction.delivery import deliver
    from onnxopt.pipeline.reduction.search import Reduction
    from onnxopt.report.reduction import reduction_json, reduction_text

    model, recipe = asked.model, None
    given.exclusive(data=asked.data is not None, dim=bool(asked.dim))
    if asked.passes is not None or asked.level is not None or check is None:
        recipe = asked.recipe
    elif asked.plugin:
        raise BadOption("--plugin does nothing without --passes")
    output = Path(f"{model.stem}.reduced.onnx") if output is None else output
    given.require_writable(output, output.with_suffix(".npz"))
    if output.resolve() == model.resolve():
        raise BadOption(f"-o {output} is the model itself")
    with Progress() as progress:
        reduction = Reduction(
            source=source_of(model),
            pipeline=recipe.pipeline if recipe else None,
            data=asked.samples(recipe),
            target=asked.target_of(recipe),
            dims=asked.dims,
            command=check or "",
            timeout=timeout,
            max_seconds=max_seconds,
            tick=progress.say,
        )
        reduced = reduction.run()
        delivered = deliver(reduction, reduced, output, recipe.plugins if recipe else ())
    print_json(reduction_json(reduced, delivered)) if json else print_text(reduction_text(reduced, delivered))
