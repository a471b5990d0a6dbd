"""`onnxopt run`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxopt.cli import given

if TYPE_CHECKING:
    from onnxopt.pipeline.base import Rewrite


def run(
    model: given.ModelFile,
    passes: given.Passes = None,
    level: given.Level = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the ONNX model here.")] = None,
    emit: Annotated[
        list[str] | None,
        typer.Option(help="Write an artifact: BACKEND[{options}]=PATH; repeatable.", metavar="B=PATH"),
    ] = None,
    data: given.Data = None,
    target: given.Target = None,
    verify_each: Annotated[
        bool, typer.Option("--verify-each", help="After every pass, compare all outputs with the input model's.")
    ] = False,
    verify: Annotated[
        bool | None, typer.Option("--verify/--no-verify", help="Compare at the end; the default where --data is given.")
    ] = None,
    check_claims: Annotated[
        bool, typer.Option("--check-claims", help="Hold what each pass says it changed against a fingerprint.")
    ] = False,
    timing: Annotated[bool, typer.Option("--timing", help="Per pass: seconds, rewrites, costs.")] = False,
    print_before: Annotated[
        list[str] | None, typer.Option(help="Print the graph before this pass, or `all`; repeatable.", metavar="P")
    ] = None,
    print_after: Annotated[
        list[str] | None, typer.Option(help="Print the graph after this pass, or `all`; repeatable.", metavar="P")
    ] = None,
    print_changed: Annotated[bool, typer.Option("--print-changed", help="Print what each pass changed.")] = False,
    explain: Annotated[
        list[str] | None, typer.Option(help="Print what this pass, or `all`, left alone and why.", metavar="P")
    ] = None,
    snapshots: Annotated[
        Path | None, typer.Option(help="Write the graph after every pass here.", metavar="DIR")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="Allow only the first N rewrites.", metavar="N")] = None,
    reproducer: Annotated[Path, typer.Option(help="Where a failing pass leaves its reproducer.", metavar="DIR")] = Path(
        "onnxopt-reproducer"
    ),
    plugin: given.Plugins = None,
    dim: given.Dims = None,
    json: given.Json = False,
) -> None:
    """Push a model through passes, proving each on data, and write what comes out."""
    from onnxopt.api import RunRequest
    from onnxopt.cli.console import print_json, print_plain, print_text, stderr, warn
    from onnxopt.cli.progress import Progress
    from onnxopt.pipeline.backend import Emission
    from onnxopt.pipeline.instruments.claims import Claims
    from onnxopt.pipeline.instruments.costing import Costing
    from onnxopt.pipeline.instruments.printing import Printing
    from onnxopt.pipeline.instruments.snapshots import Snapshots
    from onnxopt.pipeline.instruments.timing import Timing
    from onnxopt.pipeline.instruments.verify import Verify
    from onnxopt.pipeline.manager import Instrument
    from onnxopt.pipeline.source import Source
    from onnxopt.report.summary import Summary

    registry = given.registry_with(plugin)
    pipeline, file_target, file_data = given.pipeline_of(passes, level, registry)
    given.require_passes(registry, *(print_before or ()), *(print_after or ()), *(explain or ()))
    emissions = [Emission.parse(text) for text in emit or ()]
    given.require_folders(output, *(emission.path for emission in emissions))
    samples = given.samples_of(model, data or file_data)
    wants_check = verify_each or (samples is not None if verify is None else verify)
    clock, costing, progress = Timing(), Costing(), Progress()
    instruments: list[Instrument] = [progress, costing]
    if timing:
        instruments.append(clock)
    if check_claims:
        instruments.append(Claims())
    if print_before or print_after or print_changed:
        show = print_plain if json else print_text  # with --json, stdout holds one document
        instruments.append(Printing(show, print_before or (), print_after or (), print_changed))
    if snapshots:
        instruments.append(Snapshots(snapshots))
    request = RunRequest(
        source=Source.of(model),
        pipeline=pipeline,
        data=samples,
        target=target or file_target,
        limit=limit,
        verify=Verify(samples, each=verify_each, dims=given.dims_of(dim)) if wants_check else None,
        instruments=instruments,
        reproducer=reproducer,
        reproducer_arguments=given.arguments(plugin, data or file_data, verify_each, target or file_target),
        report_progress=progress.report,
    )
    with progress:
        result = request.run()
        summary = Summary(result, costing.first, costing.last, clock.table)
        if output:
            result.save(output)
        for emission in emissions:
            emission.write(result.graph, request.source, summary.about())
    warn(result.context.warnings)
    if json:
        print_json(summary.to_json())
    else:
        stderr().print(summary.table())
        if timing:
            stderr().print(summary.passes_table())
        for line in explanations(result.context.refusals, explain or ()):
            print_text(line)
    if output is None and not emissions:
        warn(["nothing was written: give -o FILE or --emit"])


def explanations(refusals: Sequence[Rewrite], names: Sequence[str]) -> list[str]:
    """A line for each near match of the passes named: where, and why it was left alone."""
    from onnxopt.pipeline.instruments.printing import ALL

    return [
        f"{refusal.pass_name}: {refusal.where}: {refusal.what}"
        for refusal in refusals
        if ALL in names or refusal.pass_name in names
    ]
