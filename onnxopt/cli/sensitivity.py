"""`onnxopt sensitivity`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxopt.cli import given
from onnxopt.errors import BadOption

if TYPE_CHECKING:
    from onnxopt.data import DataSet
    from onnxopt.data.scoring import Metric
    from onnxopt.pruning.sensitivity import Pruner

_SAMPLES = 256
_PRUNING = "How layers are pruned"


def sensitivity(
    model: given.ModelFile,
    data: given.Data = None,
    eval_data: Annotated[
        str | None,
        typer.Option(
            "--eval",
            help="Samples for --metric, not calibrated on; as --data, which is judged on without.",
            metavar="D",
            rich_help_panel=given.ACCURACY,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="top1, psnr, psnr:PEAK, snr, cosine, agreement or module:function; snr.",
            metavar="M",
            rich_help_panel=given.ACCURACY,
        ),
    ] = None,
    labels: given.Labels = None,
    samples: Annotated[
        int,
        typer.Option(
            min=1, help="How many samples to judge on, evenly spread.", metavar="N", rich_help_panel=given.ACCURACY
        ),
    ] = _SAMPLES,
    method: Annotated[
        str,
        typer.Option(
            help="What tells which weights matter: as of the pass prune.", metavar="M", rich_help_panel=_PRUNING
        ),
    ] = "magnitude",
    pattern: Annotated[
        str,
        typer.Option(
            help="Where zeros may lie: unstructured, N:M or RxC, as of prune.", metavar="P", rich_help_panel=_PRUNING
        ),
    ] = "unstructured",
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            help="Layers, weights or operators to leave out, by pattern; repeatable.",
            metavar="P",
            rich_help_panel=_PRUNING,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the table here, as a PNG; needs the extra `plot`.", metavar="FILE", readable=False),
    ] = None,
    json: given.Json = False,
) -> None:
    """How accurate a model is with each of its layers pruned alone, to 10, 20, ... 90 %.

    Judged by --metric on --eval; without them, by how near the outputs are to the original's, on the calibration data.
    `prune{sparsity=auto}` chooses the sparsity of each layer by such a table.
    """
    from onnxopt.cli.console import note, print_json, print_view
    from onnxopt.cli.progress import Progress
    from onnxopt.cli.sources import name_of
    from onnxopt.ir.load import load
    from onnxopt.pipeline.base import Context
    from onnxopt.pruning.sensitivity import sweep
    from onnxopt.report.pruning_sensitivity import sweep_json, sweep_table
    from onnxopt.report.sensitivity_plot import plot_sweep, require_plotting
    from onnxopt.report.units import size
    from onnxopt.runtime.evaluation import Subject
    from onnxopt.runtime.judging import Judge

    if plot is not None:
        given.require_writable(plot)
        require_plotting()
    pruner = _pruner(method, pattern, exclude or [])
    calibration, judged, judge_by = _judging(model, data, eval_data, metric, labels)
    graph = load(model)
    with Progress() as progress:
        ctx = Context(data=calibration, report_progress=progress.report, current="prune")
        judge = Judge(Subject(name_of(model), model), judged.spread(samples), judge_by)
        found = sweep(graph, pruner, ctx, judge)
    if not found.curves:
        reasons = "; ".join(dict.fromkeys(refusal.what for refusal in ctx.refusals))
        reasons = reasons or ("every layer is left out" if exclude else "it has no layers with weights")
        raise BadOption(f"{name_of(model)}: nothing can be pruned: {reasons}")
    if plot is not None:
        plot_sweep(found, plot, model.name)
    document = {"model": name_of(model), "method": method, "pattern": pattern, **sweep_json(found)}
    print_json(document) if json else print_view(sweep_table(found))
    if plot is not None:
        note(f"wrote {plot}, {size(plot.stat().st_size)}")


def _judging(
    model: Path, data: str | None, eval_data: str | None, metric: str | None, labels: str | None
) -> tuple[DataSet, DataSet, Metric]:
    """The calibration data, and what to judge on and by.

    Raises:
        BadOption: The calibration data, the metric or what it needs is missing.
    """
    calibration = given.samples_of(model, data)
    if calibration is None:
        raise BadOption("sensitivity needs samples: give --data D")
    given.require_other_data(eval_data, data)
    if metric is None and eval_data is not None:
        raise BadOption("--eval is for --metric, which is not given")
    evaluation = given.samples_of(model, eval_data) or calibration
    if metric is None and labels is None:
        metric = "snr"
    judged = given.judging(evaluation, metric, labels, "--eval D")
    assert judged is not None  # without a metric the labels are refused
    return calibration, *judged


def _pruner(method: str, pattern: str, exclude: list[str]) -> Pruner:
    """The pass prune with these options.

    Raises:
        BadPipeline: It does not take one of them.
    """
    from onnxopt.pipeline.options import build
    from onnxopt.pipeline.registry import Registry
    from onnxopt.pipeline.values import quote

    options = {"method": quote(method), "pattern": quote(pattern), "exclude": ",".join(map(quote, exclude))}
    found: Pruner = build(Registry.installed().get("prune"), options)  # type: ignore[assignment]
    return found
