"""One model through Qualcomm's libraries, in a child process with a time limit: written, compiled, run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy.typing as npt
from onnx import ModelProto

from onnxopt import ir
from onnxopt.backends.qnn.installed import require_installed
from onnxopt.backends.qnn.trace import Refusal, refusals
from onnxopt.runtime.child import ChildFailed, run_in_child
from onnxopt.runtime.working_folder import working_folder

PREFIX = "onnxopt-qnn-"
"""Of the names of working folders."""
Feeds: TypeAlias = Mapping[str, npt.NDArray[Any]]
Outputs: TypeAlias = dict[str, npt.NDArray[Any]]
TIMEOUT = 600.0
"""Seconds that one child may take: a MobileNetV2 takes one."""
MODEL, DLC, CONTEXT, WRAPPER = "model.onnx", "model.dlc", "context.bin", "context.onnx"
"""Files of the working folder; MODEL and WRAPPER are as vendor.py, which only a child imports, has them."""
_CHILD, _BUILD, _RUN = "onnxopt.backends.qnn.vendor", "build", "run"
_LOG_BYTES = 1 << 16
_SLOW = "more than"


@dataclass(frozen=True)
class Attempt:
    """What became of a model."""

    stage: str
    """How far it came: starting, loading, validating, compiling, running; `done` where nothing more was asked for."""
    refused: tuple[Refusal, ...] = ()
    """The nodes that HTP does not take: (node, op, reason)."""
    crash: str = ""
    """How the child ended: `SIGSEGV`, or `more than 60 s`; empty where it answered."""
    error: str = ""
    """What the libraries said, in one line; empty where nothing failed, or nodes were refused."""
    outputs: tuple[Outputs, ...] = ()
    """Of each feed, by name; a tensor of rank 0, which HTP has not, in the shape that the model declares."""
    log: str = field(default="", repr=False)
    """The last 64 KiB of what the libraries printed."""

    @property
    def ok(self) -> bool:
        """Whether all that was asked for worked."""
        return self.stage == "done" and not (self.refused or self.crash or self.error)

    @property
    def slow(self) -> bool:
        """Whether the child was stopped at its time limit."""
        return self.crash.startswith(_SLOW)

    @property
    def why(self) -> str:
        """Why it did not, in one line; empty where it did."""
        if self.refused:
            return "; ".join(f"{each.op} {each.node}: {each.reason}" for each in self.refused)
        if self.slow:
            return f"Qualcomm's libraries took {self.crash} and were stopped while {self.stage}"
        if self.crash:
            return f"Qualcomm's libraries ended with {self.crash} while {self.stage}"
        return "" if self.ok else f"Qualcomm's libraries failed while {self.stage}: {self.error}"


def attempt(
    model: ir.Graph | ModelProto | Path,
    soc: int,
    feeds: Sequence[Feeds] | Feeds | None = None,
    timeout: float = TIMEOUT,
    *,
    folder: Path | None = None,
    compile_context: bool = True,
) -> Attempt:
    """Write the model as a DLC, compile it for HTP and, where feeds are given, run what was compiled on the emulator.

    Each step is taken where the one before it worked. What the model and the libraries do is in the answer, and never
    raised; what runs is the context binary, loaded again from its file.

    Args:
        model: The model; it is left as it is. Nodes without a name are known by their operator and place.
        soc: Qualcomm's number of the SoC: `soc.find("SM8450").id`.
        feeds: Inputs by name, of one sample or of several.
        timeout: Seconds for everything.
        folder: An empty one, for `model.dlc`, `context.bin` and what the libraries tell; by default a temporary one.
        compile_context: Whether to go on to finalization, which refuses what validation let through. Feeds imply it.

    Raises:
        BadOption: Qualcomm's libraries are not installed, or are not for this machine.
        BadModel: `model` is a file or a proto that is no model.
    """
    require_installed()
    several = [feeds] if isinstance(feeds, Mapping) else list(feeds or ())
    graph = _graph(model)
    with working_folder(PREFIX) if folder is None else nullcontext(folder) as place:
        _save_named(graph, place / MODEL)
        found = _child(place, _BUILD, soc, several, timeout, compile_context=compile_context)
        found = _judged(found, place)
        for made, name in (("*.dlc", DLC), ("*_qnn.bin", CONTEXT)):
            for path in place.glob(made) if found.ok else ():
                path.rename(place / name)
        shapes = {tensor.name: tensor.shape for tensor in graph.outputs}
        return replace(found, outputs=tuple(_ranked(outputs, shapes) for outputs in found.outputs))


def run_context(place: Path, soc: int, feeds: Sequence[Feeds], timeout: float = TIMEOUT) -> Attempt:
    """Run a context binary on the emulator. The folder has WRAPPER, and the binary by the name that it gives.

    Raises:
        BadOption: Qualcomm's libraries are not here.
    """
    require_installed()
    return _child(place, _RUN, soc, list(feeds), timeout)


def _child(place: Path, work: str, soc: int, feeds: Sequence[Feeds], timeout: float, **more: bool) -> Attempt:
    try:
        answer = run_in_child(f"{_CHILD}:{work}", str(place), soc, feeds, timeout=timeout, **more)
    except ChildFailed as failed:
        log = _log(place) or failed.log
        if failed.timed_out:
            return Attempt(_stage(place), crash=f"{_SLOW} {timeout:g} s", log=log)
        if failed.signal_name:
            return Attempt(_stage(place), crash=failed.signal_name, log=log)
        return Attempt(_stage(place), error=str(failed), log=log)
    return Attempt(_stage(place), error=answer["error"], outputs=tuple(answer["outputs"]), log=_log(place))


def _judged(found: Attempt, place: Path) -> Attempt:
    """An attempt with the refusals that the libraries noted, and the silent failures that they did not."""
    if found.crash or found.stage in ("starting", "loading"):
        return found
    listed = refusals(place)
    if listed:
        return replace(found, refused=tuple(listed), error="")
    if found.error:
        return found
    if listed is None:
        return replace(found, error="they left no trace of what they did")
    written = len(list(place.glob("*.dlc")))
    if written != 1:
        return replace(
            found, stage="validating", error=f"they wrote {written} DLCs, and one for the whole model is wanted"
        )
    return found


def _graph(model: ir.Graph | ModelProto | Path) -> ir.Graph:
    if isinstance(model, ir.Graph):
        return model.copy()
    return ir.load(model) if isinstance(model, Path) else ir.from_proto(model)


def _save_named(graph: ir.Graph, path: Path) -> None:
    """Save a graph in which every node has a name of its own: refusals tell of nodes by it."""
    taken = {node.name for node in graph.nodes}
    for index, node in enumerate(graph.nodes):
        if not node.name:
            node.name = next(
                name
                for name in (f"{node.op}_{number}" for number in range(index, 2 * len(graph.nodes) + 1))
                if name not in taken
            )
            taken.add(node.name)
    ir.save(graph, path)


def _ranked(outputs: Outputs, shapes: Mapping[str, Any]) -> Outputs:
    """Outputs of rank 0, which come as [1], in the rank that the model declares."""
    return {
        name: value.reshape(()) if shapes.get(name) in ((), []) and math.prod(value.shape) == 1 else value
        for name, value in outputs.items()
    }


def _stage(place: Path) -> str:
    try:
        return (place / "stage").read_text()
    except OSError:
        return "starting"


def _log(place: Path) -> str:
    try:
        return (place / "log").read_bytes()[-_LOG_BYTES:].decode(errors="replace")
    except OSError:
        return ""
