"""`onnxopt bench`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxopt.cli import given
from onnxopt.errors import BadModel, BadOption

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxopt.cli.progress import Progress
    from onnxopt.data import DataSet
    from onnxopt.pipeline.benchmark import Entry
    from onnxopt.runtime.side_by_side import Conditions

_HOW = "How models run"


def bench(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Models, the first being what the others are held against, and artifacts emitted of it.",
            show_default=False,
            readable=False,
        ),
        given.SOURCE,
    ],
    data: given.Data = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Samples at a time: 1,2,4,8; 1, or what the model fixes.", metavar="N,N", rich_help_panel=_HOW
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="For one operator; onnxruntime takes one for each core.", metavar="N", rich_help_panel=_HOW
        ),
    ] = None,
    optimize: Annotated[
        bool,
        typer.Option("--optimize/--no-optimize", help="onnxruntime's own optimizations.", rich_help_panel=_HOW),
    ] = True,
    seconds: Annotated[
        float,
        typer.Option(
            min=0.0, help="To spend on all models together, for each batch.", metavar="S", rich_help_panel=_HOW
        ),
    ] = 6.0,
    metric: given.Judge = None,
    eval_data: Annotated[
        str | None,
        typer.Option("--eval", help="Samples for --metric; as --data.", metavar="D", rich_help_panel=given.ACCURACY),
    ] = None,
    labels: given.Labels = None,
    dim: given.Dims = None,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Where the time goes: by operator, the slowest nodes, and the passes behind."),
    ] = False,
    plot: given.Plot = None,
    mlflow: given.Mlflow = None,
    json: given.Json = False,
) -> None:
    """Measure models side by side in onnxruntime: latency, memory, size, accuracy.

    All models run in turns, in an order that changes; the first one also beside itself, and a difference from it that
    is within that noise is called none. Memory is that of a process which runs one model alone. What an artifact takes
    on its own device is printed where it was measured there.
    """
    from onnxopt.cli.console import note, print_json, print_view
    from onnxopt.cli.progress import Progress
    from onnxopt.cli.tracking import Tracking
    from onnxopt.pipeline.benchmark import Request
    from onnxopt.report.bench import bench_json, bench_view
    from onnxopt.report.bench import conditions as conditions_of
    from onnxopt.report.bench_plot import plot_bench
    from onnxopt.report.mlflow_run import Record, metrics_of
    from onnxopt.report.sensitivity_plot import require_plotting
    from onnxopt.report.units import size
    from onnxopt.runtime.side_by_side import Conditions

    given.exclusive(data=data is not None, dim=bool(dim))
    given.require_writable(plot)
    if plot is not None:
        require_plotting()
    tracking = Tracking.of(mlflow)
    batches, dims, entries = _batches(batch), given.dims_of(dim), _entries(models)
    judged = given.judging(given.samples_of(models[0], eval_data or data), metric, labels, "--eval D or --data D")
    if judged is None and eval_data is not None:
        raise BadOption("--eval is for --metric, which is not given")
    conditions = Conditions(optimize, threads or 0, seconds)
    samples = given.samples_of(models[0], data)
    with Progress() as progress:
        found = Request(entries, conditions, samples, batches, dims, judged, report=progress.report).run()
        profiles = _profiles(entries, samples, batches, dims, conditions, progress) if profile else {}
    document = bench_json(found)
    if profile:
        document["profile"] = {name: each for name, (_, each) in profiles.items()}
    views = [bench_view(found), *(view for each, _ in profiles.values() for view in ("", each))]
    print_json(document) if json else print_view(*views)
    if plot is not None:
        plot_bench(found, plot, f"{entries[0].name} and {len(entries) - 1} more" if entries[1:] else entries[0].name)
        note(f"wrote {plot}, {size(plot.stat().st_size)}")
    files = [*(entry.path for entry in entries), *([plot] if plot is not None else [])]
    told = {key: str(value) for key, value in conditions_of(found).items()} | {"data": found.data}
    tracking.log(lambda: Record(f"bench {entries[0].name}", told, metrics_of(found), document, files))


def _profiles(
    entries: Sequence[Entry],
    samples: DataSet | None,
    batches: Sequence[int],
    dims: dict[str, int],
    conditions: Conditions,
    progress: Progress,
) -> dict[str, tuple[RenderableType, dict[str, Any]]]:
    """Of each model, for the first batch: what to print, and its JSON."""
    from onnxopt.report.profile import makers_of, profile_json, profile_view
    from onnxopt.runtime.bench_inputs import bench_inputs
    from onnxopt.runtime.profiling import profile

    models = [entry for entry in entries if entry.backend is None]
    paths = [entry.path for entry in models]
    sessions = [conditions.open(path) for path in paths]
    fed = bench_inputs(paths, sessions, samples, batches[0] if batches else None, dims)
    del sessions
    found = {}
    for entry, feeds in zip(models, fed, strict=True):
        progress.report(f"profiling {entry.name}", 0, 0)
        told = profile(entry.path, feeds, optimize=conditions.optimize, threads=conditions.threads)
        makers = makers_of(entry.path)
        found[entry.name] = profile_view(entry.name, told, makers), profile_json(told, makers)
    return found


def _batches(text: str | None) -> tuple[int, ...]:
    """The sizes, from `1,2,4,8`.

    Raises:
        BadOption: One is no positive number, or comes twice.
    """
    found = tuple(text.split(",")) if text is not None else ()
    if any(not (each.isascii() and each.isdigit() and int(each)) for each in found):
        raise BadOption(f"--batch {text}: give sizes of at least 1, as in --batch 1,2,4,8")
    if len(set(found)) < len(found):
        raise BadOption(f"--batch {text}: a size is given twice")
    return tuple(map(int, found))


def _entries(models: Sequence[Path]) -> list[Entry]:
    """What was named, by its file's name where no other has the same.

    Raises:
        BadOption: A path is given twice.
        BadModel: One is not there.
    """
    from onnxopt.cli.sources import name_of
    from onnxopt.pipeline.benchmark import Entry

    if len(set(models)) < len(models):
        twice = next(model for model, count in Counter(models).items() if count > 1)
        raise BadOption(f"{name_of(twice)} is given twice; the first model is measured beside itself anyway")
    for model in models:
        if not model.exists():
            raise BadModel(f"{model}: there is no such file")
    names = [Path(name_of(model)).name for model in models]
    told = [name if names.count(name) == 1 else name_of(model) for name, model in zip(names, models, strict=True)]
    return [Entry.of(model, name) for name, model in zip(told, models, strict=True)]
