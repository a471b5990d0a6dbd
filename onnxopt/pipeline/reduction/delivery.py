"""What a reduction leaves: the model, its inputs, and the one command that shows the failure on them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from onnxopt import ir
from onnxopt.data import inputs_of, open_data
from onnxopt.errors import OnnxoptError
from onnxopt.pipeline.reduction.search import Reduced, Reduction
from onnxopt.pipeline.reduction.trial import Trial, filled_in, save_feeds
from onnxopt.pipeline.reproducer import flags


@dataclass(frozen=True)
class Delivered:
    """Files and a command."""

    files: list[Path]
    command: str
    """A shell command line."""
    is_confirmed: bool
    """Whether the files, read again, fail in the same way."""


def deliver(asked: Reduction, reduced: Reduced, output: Path, plugins: Sequence[Path] = ()) -> Delivered:
    """Write the model to `output` and its inputs beside it, and try whether these files still fail.

    Raises:
        OnnxoptError: A file cannot be written.
    """
    ir.save(reduced.graph, output)
    feeds, data = reduced.feeds, output.with_suffix(".npz")
    files = [output]
    if feeds and all(isinstance(value, np.ndarray) for value in feeds.values()):
        save_feeds(data, [feeds])
        files.append(data)
    given = data if len(files) > 1 else None
    return Delivered(files, _command(asked, reduced, output, given, plugins), _confirms(asked, reduced, output, given))


def _command(asked: Reduction, reduced: Reduced, output: Path, data: Path | None, plugins: Sequence[Path]) -> str:
    passed = output if reduced.pipeline is None else output.with_suffix(".passed.onnx")
    check = filled_in(asked.command, {"model": passed, "input": output, "data": data or output.with_suffix(".npz")})
    if reduced.pipeline is None:
        return check
    words = ["onnxopt", "run", str(output), "--passes", str(reduced.pipeline)]
    words += flags(plugins, None, asked.target, asked.dims if reduced.is_verified and data is None else {})
    if data is not None and (reduced.is_verified or asked.data is not None):
        words += ["--data", str(data)]
    if reduced.is_verified:
        words.append("--verify-each")
    elif "--data" in words:
        words.append("--no-verify")
    if not asked.command:
        return shlex.join(words)
    return f"{shlex.join([*words, '-o', str(passed)])} && {check}"


def _confirms(asked: Reduction, reduced: Reduced, output: Path, data: Path | None) -> bool:
    with TemporaryDirectory(prefix="onnxopt-reduce-") as folder:
        trial = Trial(
            asked.target, asked.data is not None, asked.timeout, Path(folder), reduced.is_verified, asked.command
        )
        try:
            graph = ir.load(output)
            feeds = None if reduced.feeds is None else [reduced.feeds]
            if data is not None:
                feeds = list(open_data(data, inputs_of(ir.to_proto(graph, max_inline=0))).batches())
            return trial.failure(graph, reduced.pipeline, feeds) == reduced.failure
        except OnnxoptError:
            return False
