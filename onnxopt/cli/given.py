"""What several commands take, read the same way by each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxopt.errors import BadOption

if TYPE_CHECKING:
    from onnxopt.data import DataSet
    from onnxopt.data.scoring import Metric
    from onnxopt.pipeline.pipeline import Pipeline
    from onnxopt.pipeline.recipe import Recipe

_INPUT, ACCURACY = "What goes in", "Accuracy"

SOURCE = object()
"""Marks an argument that is a model, or a source that is lowered to one (`cli.sources`)."""
# `readable=False`: it is for ir.load to say what is wrong with a file, and an output need not be readable at all.
ModelFile = Annotated[
    Path,
    typer.Argument(help="An ONNX model, or what `lower` makes one of.", show_default=False, readable=False),
    SOURCE,
]
Passes = Annotated[
    str | None,
    typer.Option(
        "--passes",
        "-p",
        help='A pipeline, as "O1,fuse-depthwise{merge=never}", or a TOML pipeline file.',
        metavar="P",
        rich_help_panel=_INPUT,
    ),
]
Level = Annotated[
    str | None,
    typer.Option("-O", help="A preset: -O 1, -O 2.", metavar="N", show_default=False, rich_help_panel=_INPUT),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="Samples: an .npz, a folder with an input_list.txt, or module:function.",
        metavar="D",
        rich_help_panel=_INPUT,
    ),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        help="A Python file with passes; repeatable. It is run.",
        metavar="F",
        rich_help_panel=_INPUT,
        readable=False,
    ),
]
Dims = Annotated[
    list[str] | None,
    typer.Option(
        "--dim",
        help="Size of a symbolic dimension, for figures and generated inputs; repeatable.",
        metavar="NAME=SIZE",
        rich_help_panel=_INPUT,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(help="The backend that the graph is prepared for.", metavar="T", rich_help_panel=_INPUT),
]
Judge = Annotated[
    str | None,
    typer.Option(
        "--metric",
        help="Accuracy of both models: top1, psnr, psnr:PEAK, snr, cosine, agreement or module:function.",
        metavar="M",
        rich_help_panel=ACCURACY,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="The array of the data with labels for top1, or targets.", metavar="NAME", rich_help_panel=ACCURACY
    ),
]
Mlflow = Annotated[
    str | None,
    typer.Option(
        help="Log parameters, metrics and files to this MLflow server; else to MLFLOW_TRACKING_URI.", metavar="URI"
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        help="Draw size, latency and accuracy here, as a PNG; needs the extra `plot`.", metavar="FILE", readable=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]


def recipe_of(passes: str | None, level: str | None, plugins: Sequence[Path] | None) -> Recipe:
    """The pipeline asked for, and what its file says beside it.

    Raises:
        BadOption: Neither or both of --passes and -O are given, or there is no such level.
        BadPipeline: The pipeline or a plug-in cannot be read.
    """
    from onnxopt.pipeline.presets import PRESETS
    from onnxopt.pipeline.recipe import Recipe

    if (passes is None) == (level is None):
        raise BadOption("give the passes with either --passes or -O" + (", not both" if passes is not None else ""))
    if passes is None and f"O{level}" not in PRESETS:
        raise BadOption(f"there is no -O {level}; there are {', '.join(f'-O {name[1:]}' for name in PRESETS)}")
    return Recipe.of(f"O{level}" if passes is None else passes, plugins or ())


def require_passes(pipeline: Pipeline, flag: str, names: Sequence[str]) -> None:
    """Refuse the name of a pass that a flag gives and the pipeline does not have; `all` stands for every pass.

    Raises:
        BadOption: The flag would do nothing; the nearest name is suggested.
    """
    from onnxopt.pipeline.instruments.printing import ALL
    from onnxopt.pipeline.suggest import did_you_mean

    known = {pass_.pass_name(): None for pass_ in pipeline.passes()}
    for name in names:
        if name != ALL and name not in known:
            hint = did_you_mean(name, [*known, ALL], f"; it has {', '.join(known)}")
            raise BadOption(f"{flag} {name}: the pipeline has no such pass{hint}")


def require_writable(*paths: Path | None) -> None:
    """Refuse an output that cannot be written, before the work is done.

    Raises:
        BadOption: Its folder is missing or read-only, it is a folder itself, or another output has the same path.
    """
    import os

    given = [path for path in paths if path is not None]
    for path in given:
        if not path.parent.is_dir():
            raise BadOption(f"cannot write {path}: there is no folder {path.parent}")
        if path.is_dir():
            raise BadOption(f"cannot write {path}: it is a folder")
        if not os.access(path.parent, os.W_OK):
            raise BadOption(f"cannot write {path}: the folder {path.parent} is read-only")
    if len({path.resolve() for path in given}) < len(given):
        raise BadOption(f"two outputs have one path: {', '.join(map(str, given))}")


def dims_of(texts: Sequence[str] | None) -> dict[str, int]:
    """Sizes by symbol, from `NAME=SIZE`.

    Raises:
        BadOption: Not of that form, no positive size, or twice the same name.
    """
    dims: dict[str, int] = {}
    for text in texts or ():
        name, _, size = text.rpartition("=")
        if not name or not (size.isascii() and size.isdigit()) or int(size) < 1:
            raise BadOption(f"--dim {text}: give it as NAME=SIZE, with a size of at least 1")
        if name in dims:
            raise BadOption(f"--dim {text}: {name} is given twice")
        dims[name] = int(size)
    return dims


def samples_of(model: Path, data: str | None, pipeline: Pipeline | None = None) -> DataSet | None:
    """The calibration set named, for the inputs of a model as the pipeline will have them; None where none is."""
    from onnxopt.api import open_samples
    from onnxopt.cli.sources import source_of

    return None if data is None else open_samples(source_of(model), data, pipeline.fixed_dims() if pipeline else None)


def judging(
    samples: DataSet | None, metric: str | None, labels: str | None, flag: str
) -> tuple[DataSet, Metric] | None:
    """The samples to judge on, and the metric; None where none is asked for.

    Raises:
        BadOption: The metric or what it needs is missing; `flag` is what gives it samples.
        BadData: The data do not have what it needs.
    """
    from onnxopt.data.scoring import Metric

    if metric is None:
        if labels is not None:
            raise BadOption("--labels is for --metric, which is not given")
        return None
    if samples is None:
        raise BadOption(f"--metric {metric} needs samples to judge on: give {flag}")
    return samples, Metric.of(metric, samples, labels)


def require_other_data(evaluation: str | None, calibration: str | None) -> None:
    """Refuse to judge a model on what it was calibrated on.

    Raises:
        BadOption: Both name the same data.
    """
    if evaluation is None or calibration is None:
        return
    one, other = Path(evaluation), Path(calibration)
    if evaluation == calibration or (one.exists() and other.exists() and one.samefile(other)):
        raise BadOption(
            f"--eval {evaluation} is the calibration data, on which a model does better than on others: "
            "give samples that were not calibrated on"
        )


def exclusive(**flags: bool) -> None:
    """Refuse flags of which only one can hold.

    Raises:
        BadOption: Two are given.
    """
    given = [f"--{name}" for name, is_given in flags.items() if is_given]
    if len(given) > 1:
        raise BadOption(f"{' and '.join(given)} exclude each other")
