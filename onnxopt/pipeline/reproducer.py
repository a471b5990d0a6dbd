"""What to send when a pass fails: the graph as it was before it, and the command that fails on it."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnxopt.atomic import replacing
from onnxopt.errors import OnnxoptError
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.instruments.stop_before import StopBefore
from onnxopt.pipeline.manager import Manager, PassRun
from onnxopt.pipeline.pipeline import Pipeline
from onnxopt.pipeline.source import Source

if TYPE_CHECKING:
    from onnxopt.data import DataSet


def write_reproducer(
    folder: Path,
    source: Source,
    pipeline: Pipeline,
    run: PassRun,
    error: Exception,
    ctx: Context,
    arguments: Sequence[str] = (),
) -> str:
    """Write `model.onnx`, `command.txt` and `error.txt` into `folder`; return the command.

    The graph before the failing pass is had by running the passes before it again from the source, so that a run that
    does not fail keeps no copies.

    Args:
        folder: Made if it is not there.
        source: The input of the failed run.
        pipeline: All of it.
        run: The pass that failed.
        error: What it raised, or which check it failed.
        ctx: Its context, for the target, the data and the limit on rewrites.
        arguments: What else the command needs, as `flags` gives it.

    Raises:
        OnnxoptError: The folder cannot be written.
    """
    from onnxopt import ir

    graph = source.load()
    again = Context(target=ctx.target, data=ctx.data, limit=ctx.limit)
    Manager([StopBefore(run.index)]).run(graph, pipeline, again)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise OnnxoptError(f"cannot write the reproducer into {folder}: {reason.strerror}") from reason
    model = folder / "model.onnx"
    ir.save(graph, model)
    limit = [] if ctx.limit is None else ["--limit", str(max(0, ctx.limit - len(again.rewrites)))]
    command = shlex.join(["onnxopt", "run", str(model), "--passes", run.text, *arguments, *limit])
    _write(folder / "command.txt", command)
    _write(folder / "error.txt", "".join(traceback.format_exception(error)))
    return command


def flags(plugins: Sequence[Path], data: DataSet | None, target: str | None, dims: Mapping[str, int]) -> list[str]:
    """What a command has to repeat, so that the same passes see the same data."""
    found = [word for plugin in plugins for word in ("--plugin", str(plugin))]
    found += ["--data", data.source] if data else []
    found += ["--target", target] if target else []
    return found + [word for name, size in dims.items() for word in ("--dim", f"{name}={size}")]


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace") + b"\n" * (not text.endswith("\n")))
