"""Every command that takes a model takes a source of one: what is no ONNX file is lowered to one first."""

from __future__ import annotations

import atexit
import inspect
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from onnxopt.cli.given import SOURCE

if TYPE_CHECKING:
    from onnxopt.frontends.wanted import Lowered
    from onnxopt.pipeline.source import Source

_TRUST = "trust_pickle"
TrustPickle = Annotated[
    bool,
    typer.Option(
        "--trust-pickle",
        help="Open TorchScript and pickles, which run whatever code is in them.",
        rich_help_panel="What goes in",
    ),
]
_folders = ExitStack()
"""What holds lowered models, until the process ends."""
atexit.register(_folders.close)
_names: dict[Path, str] = {}
"""What was given, by the file that it was lowered to."""


def takes_sources(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer whose models may be sources; one that takes none stays as it is."""
    hints = get_type_hints(command, include_extras=True)
    parameters = [
        parameter.replace(annotation=hints.get(parameter.name, parameter.annotation))
        for parameter in inspect.signature(command).parameters.values()
    ]
    models = [parameter.name for parameter in parameters if SOURCE in getattr(parameter.annotation, "__metadata__", ())]
    if not models:
        return command

    @wraps(command)
    def taking(**options: Any) -> None:
        trust = options.pop(_TRUST)
        for name in models:
            given = options[name]
            options[name] = (
                [_opened(each, trust) for each in given] if isinstance(given, list) else _opened(given, trust)
            )
        command(**options)

    flag = inspect.Parameter(_TRUST, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=TrustPickle)
    keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    taking.__signature__ = inspect.Signature([*keyword, flag])  # type: ignore[attr-defined]  # what typer looks at
    return taking


def name_of(model: Path) -> str:
    """What messages call a model: what was given, also where that was lowered."""
    return _names.get(model, str(model))


def source_of(model: Path) -> Source:
    """The model as pipelines take it."""
    from onnxopt.pipeline.source import Source

    return Source(model, name_of(model))


def told(source: str, lowered: Lowered) -> list[str]:
    """How a source was lowered, one line each."""
    equal = f"; outputs equal within rounding on {lowered.compared}" if lowered.compared else ""
    return [f"lowered {source} by {lowered.by}{equal}", *lowered.notes]


def _opened(model: Path, trust_pickle: bool) -> Path:
    """The ONNX file of a source; an ONNX file and an artifact are what they are.

    Raises:
        OnnxoptError: It cannot be lowered.
    """
    from onnxopt.pipeline.backend import backend_of

    if model.suffix == ".onnx" or backend_of(model) is not None:
        return model
    from tempfile import TemporaryDirectory

    from onnxopt.cli.console import note
    from onnxopt.frontends.kinds import Kind, kind_of
    from onnxopt.frontends.lowering import lower
    from onnxopt.frontends.wanted import Wanted

    if kind_of(model) is Kind.ONNX:
        return model
    folder = Path(_folders.enter_context(TemporaryDirectory(prefix="onnxopt-source-")))
    path = folder / f"{model.name.replace(':', '.').partition('.')[0] or 'model'}.onnx"
    for line in told(str(model), lower(model, path, Wanted(trust_pickle=trust_pickle))):
        note(line)
    _names[path] = str(model)
    return path
