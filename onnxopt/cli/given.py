"""What several commands take, read the same way by each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onnxopt.errors import BadOption

ALL = "all"

if TYPE_CHECKING:
    from onnxopt.data import DataSet
    from onnxopt.pipeline.pipeline import Pipeline
    from onnxopt.pipeline.registry import Registry

ModelFile = Annotated[Path, typer.Argument(help="An ONNX model.", show_default=False)]
Passes = Annotated[
    str | None,
    typer.Option(
        "--passes", "-p", help='A pipeline, as "O1,fuse-depthwise{merge=never}", or a TOML pipeline file.', metavar="P"
    ),
]
Level = Annotated[int | None, typer.Option("-O", help="A preset: -O 1, -O 2.", metavar="N", show_default=False)]
Data = Annotated[
    str | None,
    typer.Option(help="Samples: an .npz, a folder with an input_list.txt, or module:function.", metavar="D"),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="A Python file with passes; repeatable. It is executed.", metavar="F"),
]
Dims = Annotated[
    list[str] | None,
    typer.Option("--dim", help="Size of a symbolic dimension in generated inputs; repeatable.", metavar="NAME=SIZE"),
]
Target = Annotated[str | None, typer.Option(help="The target that the graph is prepared for.", metavar="T")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def registry_with(plugins: Sequence[Path] | None) -> Registry:
    """The built-in and installed passes, and those of the files given."""
    from onnxopt.pipeline.registry import Registry

    registry = Registry.installed()
    for plugin in plugins or ():
        registry.load_plugin(plugin)
    return registry


def pipeline_of(passes: str | None, level: int | None, registry: Registry) -> tuple[Pipeline, str | None, str | None]:
    """The pipeline asked for, and the target and the data that a pipeline file names.

    Raises:
        BadOption: Neither or both of --passes and -O are given, or there is no such level.
        BadPipeline: The pipeline cannot be read.
    """
    from onnxopt.pipeline.pipeline import parse_pipeline
    from onnxopt.pipeline.pipeline_file import load_pipeline_file
    from onnxopt.pipeline.presets import PRESETS

    if (passes is None) == (level is None):
        raise BadOption("give the passes with either --passes or -O" + (", not both" if passes is not None else ""))
    if passes is None:
        if f"O{level}" not in PRESETS:
            raise BadOption(f"there is no -O {level}; there are {', '.join(PRESETS)}")
        return parse_pipeline(f"O{level}", registry), None, None
    if passes.endswith(".toml"):
        file = load_pipeline_file(Path(passes), registry)
        return file.pipeline, file.target, None if file.data is None else str(file.data)
    return parse_pipeline(passes, registry), None, None


def require_passes(registry: Registry, *names: str) -> None:
    """Refuse a pass name that a flag gives and no pass has; `all` stands for every pass.

    Raises:
        BadPipeline: There is no such pass; the nearest name is suggested.
    """
    for name in names:
        if name != ALL:
            registry.get(name)


def require_folders(*paths: Path | None) -> None:
    """Refuse an output whose folder is not there, before the work is done.

    Raises:
        BadOption: The folder is missing.
    """
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise BadOption(f"cannot write {path}: there is no folder {path.parent}")


def arguments(plugins: Sequence[Path] | None, data: str | None, verify_each: bool, target: str | None) -> list[str]:
    """The flags that a reproducer's command has to repeat."""
    flags = [flag for plugin in plugins or () for flag in ("--plugin", str(plugin))]
    flags += ["--data", data] if data else []
    flags += ["--target", target] if target else []
    return flags + ["--verify-each"] * verify_each


def dims_of(texts: Sequence[str] | None) -> dict[str, int]:
    """Sizes by symbol, from `NAME=SIZE`.

    Raises:
        BadOption: Not of that form, or no positive size.
    """
    dims = {}
    for text in texts or ():
        name, equals, size = text.rpartition("=")
        if not equals or not size.isdigit() or int(size) < 1:
            raise BadOption(f"--dim {text}: give it as NAME=SIZE, with a size of at least 1")
        dims[name] = int(size)
    return dims


def samples_of(model: Path, data: str | None) -> DataSet | None:
    """The data set named, for the inputs of a model; None where none is."""
    from onnxopt.api import open_samples
    from onnxopt.pipeline.source import Source

    return None if data is None else open_samples(Source.of(model), data)
