"""One model through TensorRT's parser and builder, in a child process with a time limit."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from onnx import ModelProto

from onnxopt import ir
from onnxopt.backends.tensorrt.naming import with_names
from onnxopt.backends.tensorrt.progress import Report, watched
from onnxopt.backends.tensorrt.reproducible import same_addresses
from onnxopt.backends.tensorrt.wanted import ENGINE, LOG, MODEL, PROGRESS, STAGE, Built, ParserError, Wanted
from onnxopt.runtime.child import ChildFailed, run_in_child
from onnxopt.runtime.executable import complaint
from onnxopt.runtime.working_folder import working_folder

TIMEOUT = 600.0
"""Seconds that one child may take: a MobileNetV2 takes one."""
PREFIX = "onnxopt-tensorrt-"
"""Of working folders."""
_CHILD = "onnxopt.backends.tensorrt.vendor:build"
_SERIOUS = ("ERROR ", "INTERNAL_ERROR ")


@dataclass(frozen=True)
class Attempt:
    """What became of a model."""

    stage: str
    """How far it came: checking, starting, loading, parsing, building; `done` where an engine was built."""
    refused: tuple[ParserError, ...] = ()
    """The nodes that the parser does not take, all of them."""
    why: str = ""
    """Why there is no engine, in one line; empty where there is one."""
    built: Built = field(default_factory=Built)
    """What TensorRT told of the network."""
    engine: Path | None = None
    """Within the folder that was given; None where none was given, or none was built."""
    size: int = 0
    """Bytes of the engine."""
    is_slow: bool = False
    """Whether it was stopped at its time limit."""
    is_crash: bool = False
    """Whether the child gave no answer: it crashed, raised, or was stopped."""
    log: str = field(default="", repr=False)
    """All that TensorRT said, a line each, with its severity before it: `VERBOSE`, `INFO`, `WARNING`, `ERROR`."""

    @property
    def ok(self) -> bool:
        """Whether all that was asked for worked."""
        return not self.refused and not self.why


def attempt(
    model: ir.Graph | ModelProto | Path,
    wanted: Wanted | None = None,
    timeout: float = TIMEOUT,
    *,
    folder: Path | None = None,
    report: Report | None = None,
) -> Attempt:
    """Check a model, parse it, and build an engine of it. What the model does to TensorRT is in the answer.

    Args:
        model: What to build; it is left as it is. Its nodes get names of their own.
        wanted: How; by default for RTX, with no shapes for what is dynamic.
        timeout: Seconds for everything.
        folder: An empty one, in which the engine stays; by default a temporary one.
        report: Told how far the builder is.

    Raises:
        BadModel: `model` is a file or a proto that is no model.
    """
    with working_folder(PREFIX) if folder is None else nullcontext(folder) as place:
        ir.save(with_names(_graph(model)), place / MODEL, sync=False)
        if wrong := complaint(place / MODEL):  # the parser takes garbage for a network of no layers
            return Attempt("checking", why=f"onnx's checker refuses it: {wrong}")
        try:
            with watched(place / PROGRESS, report), same_addresses():
                built: Built = run_in_child(_CHILD, str(place), wanted or Wanted(), timeout=timeout)
        except ChildFailed as failed:
            return _failed(failed, place, timeout)
        return _judged(built, place, wanted or Wanted(), keeps=folder is not None)


def _failed(failed: ChildFailed, place: Path, timeout: float) -> Attempt:
    stage = _stage(place)
    if failed.timed_out:
        why = f"TensorRT took more than {timeout:g} s and was stopped while {stage}"
    elif failed.signal_name:
        why = f"TensorRT ended with {failed.signal_name} while {stage}"
    else:
        why = f"TensorRT failed while {stage}: {failed}"
    return Attempt(stage, why=why, is_slow=failed.timed_out, is_crash=True, log=_log(place))


def _judged(built: Built, place: Path, wanted: Wanted, *, keeps: bool) -> Attempt:
    log, stage = _log(place), _stage(place)
    if built.errors:
        return Attempt(stage, built.errors, "the parser does not take it", built, log=log)
    if built.lacking:
        return Attempt(stage, why=built.lacking, built=built, log=log)
    if not wanted.builds:
        return Attempt(stage, built=built, log=log)
    if not built.is_built:
        return Attempt(stage, why=reason(log), built=built, log=log)
    engine = place / ENGINE
    return Attempt(stage, built=built, engine=engine if keeps else None, size=engine.stat().st_size, log=log)


def reason(log: str) -> str:
    """Why the builder gave no engine: its first error, which names the node; those that follow are its consequences."""
    errors = [line.partition(" ")[2] for line in log.splitlines() if line.startswith(_SERIOUS)]
    return " ".join(errors[0].split()) if errors else "the builder does not say why"


def _graph(model: ir.Graph | ModelProto | Path) -> ir.Graph:
    if isinstance(model, ir.Graph):
        return model.copy()
    return ir.load(model) if isinstance(model, Path) else ir.from_proto(model)


def _stage(place: Path) -> str:
    try:
        return (place / STAGE).read_text()
    except OSError:
        return "starting"


def _log(place: Path) -> str:
    try:
        return (place / LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
