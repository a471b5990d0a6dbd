"""`onnxopt run`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxopt.cli import given
from onnxopt.cli.asked import Asked, takes_passes
from onnxopt.errors import BadOption

if TYPE_CHECKING:
    from onnxopt.api import RunResult

_OUTPUT, _PROOF, _WATCH, _ACCURACY = "What comes out", "Proof", "Watching", "Accuracy"


@takes_passes
def run(
    asked: Asked,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Write the ONNX model here.", metavar="FILE", rich_help_panel=_OUTPUT, readable=False
        ),
    ] = None,
    emit: Annotated[
        list[str] | None,
        typer.Option(
            help="Write an artifact: BACKEND[{options}]=PATH; repeatable.", metavar="B=PATH", rich_help_panel=_OUTPUT
        ),
    ] = None,
    save_ranges: Annotated[
        Path | None,
        typer.Option(
            help="Write the calibrated ranges here, as JSON.",
            metavar="FILE",
            rich_help_panel=_OUTPUT,
            readable=False,
        ),
    ] = None,
    save_masks: Annotated[
        Path | None,
        typer.Option(
            help="Write the masks of the pruned weights here, as .npz.",
            metavar="FILE",
            rich_help_panel=_OUTPUT,
            readable=False,
        ),
    ] = None,
    provenance: Annotated[
        bool,
        typer.Option(
            "--provenance/--no-provenance",
            help="Tell in each changed node's metadata what it was made of.",
            rich_help_panel=_OUTPUT,
        ),
    ] = True,
    json: given.Json = False,
    verify_each: Annotated[
        bool,
        typer.Option(
            "--verify-each", help="After every pass, compare all outputs with the model's.", rich_help_panel=_PROOF
        ),
    ] = False,
    verify: Annotated[
        bool | None,
        typer.Option("--verify/--no-verify", help="Compare at the end; default with --data.", rich_help_panel=_PROOF),
    ] = None,
    check_claims: Annotated[
        bool,
        typer.Option("--check-claims", help="Hold passes to what they say they changed.", rich_help_panel=_PROOF),
    ] = False,
    metric: given.Judge = None,
    eval_data: Annotated[
        str | None,
        typer.Option(
            "--eval", help="Samples for --metric, not calibrated on; as --data.", metavar="D", rich_help_panel=_ACCURACY
        ),
    ] = None,
    labels: given.Labels = None,
    guard_latency: Annotated[
        bool,
        typer.Option(
            "--guard-latency", help="Take back each pass that makes onnxruntime slower.", rich_help_panel=_PROOF
        ),
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Allow only the first N rewrites.", metavar="N", rich_help_panel=_PROOF)
    ] = None,
    reproducer: Annotated[
        Path,
        typer.Option(
            help="Where a failing pass leaves its reproducer.", metavar="DIR", rich_help_panel=_PROOF, readable=False
        ),
    ] = Path("onnxopt-reproducer"),
    timing: Annotated[
        bool, typer.Option("--timing", help="Per pass: seconds, rewrites, costs.", rich_help_panel=_WATCH)
    ] = False,
    print_before: Annotated[
        list[str] | None,
        typer.Option(help="Print the graph before pass P, or all.", metavar="P", rich_help_panel=_WATCH),
    ] = None,
    print_after: Annotated[
        list[str] | None,
        typer.Option(help="Print the graph after pass P, or all.", metavar="P", rich_help_panel=_WATCH),
    ] = None,
    print_changed: Annotated[
        bool, typer.Option("--print-changed", help="Print what each pass changed.", rich_help_panel=_WATCH)
    ] = False,
    explain: Annotated[
        list[str] | None,
        typer.Option(help="Print what pass P, or all, left alone and why.", metavar="P", rich_help_panel=_WATCH),
    ] = None,
    snapshots: Annotated[
        Path | None,
        typer.Option(
            help="Write the graph after every pass here.", metavar="DIR", rich_help_panel=_WATCH, readable=False
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write a page that shows the graph before and after every pass.",
            metavar="HTML",
            rich_help_panel=_WATCH,
            readable=False,
        ),
    ] = None,
    stages: Annotated[
        bool,
        typer.Option(
            "--stages",
            help="Measure size, latency and the metric after each pass or preset that is named.",
            rich_help_panel=_WATCH,
        ),
    ] = False,
    plot: given.Plot = None,
    mlflow: given.Mlflow = None,
) -> None:
    """Push a model through passes, proving each on data, and write what comes out."""
    from onnxopt.api import RunRequest, verification
    from onnxopt.cli.console import note
    from onnxopt.cli.progress import Progress
    from onnxopt.cli.sources import source_of
    from onnxopt.cli.staging import Staging
    from onnxopt.cli.told import record, tell
    from onnxopt.cli.tracking import Tracking
    from onnxopt.cli.watching import Watching
    from onnxopt.pipeline.backend import Emission
    from onnxopt.pipeline.latency_guard import LatencyGuard
    from onnxopt.runtime.evaluation import evaluate_graphs, is_simulated

    recipe, dims = asked.recipe, asked.dims
    emissions = [Emission.parse(text) for text in emit or ()]
    emitted = (emission.path for emission in emissions if not (emission.backend.folder and emission.path.is_dir()))
    given.require_writable(output, save_ranges, save_masks, report, plot, *emitted)
    staging, tracking = Staging(stages, plot), Tracking.of(mlflow)
    progress = Progress()
    watching = Watching(timing, print_before, print_after, print_changed, explain, snapshots, check_claims, report)
    instruments = watching.instruments(recipe.pipeline, dims, progress, to_stderr=json)
    instruments += staging.instruments(recipe.pipeline)
    samples = asked.samples(recipe)
    given.require_other_data(eval_data, asked.data or recipe.data)
    evaluation = given.samples_of(asked.model, eval_data, recipe.pipeline)
    judged = given.judging(evaluation, metric, labels, "--eval D")
    if judged is None and eval_data is not None:
        raise BadOption("--eval is for --metric, which is not given")
    request = RunRequest(
        source=source_of(asked.model),
        pipeline=recipe.pipeline,
        data=samples,
        target=asked.target_of(recipe),
        limit=limit,
        verify=verification(samples, verify, verify_each, dims),
        instruments=instruments,
        plugins=recipe.plugins,
        reproducer=reproducer,
        report_progress=progress.report,
        provenance=provenance,
        guard=LatencyGuard(samples, dims) if guard_latency else None,
    )
    simulated = is_simulated(request.target)
    with staging, progress:
        with watching.reporting_failure(request.source, recipe.pipeline):
            result = request.run()
        summary = watching.summary(result)
        if judged is not None:
            accuracy = evaluate_graphs(
                result.source.load(), result.graph, *judged, progress.report, simulated=simulated
            )
            summary = replace(summary, accuracy=accuracy)
        if save_ranges is not None:
            _save_ranges(result, save_ranges)
        if save_masks is not None:
            _save_masks(result, save_masks)
        watching.write_report(summary)
        artifacts = result.write(output, emissions, summary.about(), evaluation)
        emitted_as = list(zip(emissions, artifacts, strict=True))
        staging.measure(emitted_as, samples, dims, judged, progress.report, simulated=simulated)
    made = [path for artifact in artifacts for path in (artifact.path, *artifact.more)]
    written = [path for path in (output, *made, save_ranges, save_masks, report, plot) if path is not None]
    tell(summary, json=json, timing=timing, explain=explain or (), written=written, stages=staging.found)
    for artifact in artifacts:
        for line in artifact.notes:
            note(line)
    tracking.log(lambda: record(summary, written, staging.found))


def _save_ranges(result: RunResult, path: Path) -> None:
    """Write what was calibrated.

    Raises:
        BadOption: Nothing was.
    """
    from onnxopt.quantization.range_file import save_ranges
    from onnxopt.quantization.ranges import Ranges

    ranges = result.context.kept(Ranges)
    if ranges is None:
        raise BadOption("--save-ranges: nothing was calibrated; put the pass calibrate into the pipeline")
    save_ranges(ranges, path)


def _save_masks(result: RunResult, path: Path) -> None:
    """Write the masks that the finished model has.

    Raises:
        BadOption: Nothing was pruned.
    """
    from onnxopt.pruning.mask_file import save_masks
    from onnxopt.pruning.masks import Masks

    masks = result.context.kept(Masks)
    found = Masks() if masks is None else masks.in_model(result.graph)
    if not found:
        raise BadOption("--save-masks: nothing was pruned; put the pass prune into the pipeline")
    save_masks(found, path)
