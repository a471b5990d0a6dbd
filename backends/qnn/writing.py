"""From a graph to a DLC and a context binary that ran on the emulator: all of it, or an error and no file."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from onnxopt import ir
from onnxopt.atomic import replacing
from onnxopt.backends.qnn.built import Built, built_in
from onnxopt.backends.qnn.dlc import inspect_dlc
from onnxopt.backends.qnn.htp import CONTEXT, DLC, PREFIX, WRAPPER, Attempt, attempt
from onnxopt.backends.qnn.installed import PACKAGE
from onnxopt.backends.qnn.refusing import hopeless, problems_of, suspicion, unfit
from onnxopt.backends.qnn.soc import Soc
from onnxopt.backends.qnn.wrapper import read_wrapper
from onnxopt.data import DataSet
from onnxopt.errors import CheckFailed, OnnxoptError
from onnxopt.pipeline.backend import Artifact, Problem, Refused
from onnxopt.runtime.agreement import Agreement
from onnxopt.runtime.digest import sha256_of
from onnxopt.runtime.executable import executable
from onnxopt.runtime.trial import Trial
from onnxopt.runtime.working_folder import working_folder

NO_LATENCY = "this is the emulator's arithmetic; it says nothing of how fast a phone is"


@dataclass(frozen=True)
class Job:
    """What is wanted of a graph."""

    soc: Soc
    path: Path
    """`.dlc` or `.bin`."""
    context_binary: Path | None
    """Where a context binary goes beside a DLC."""
    timeout: float
    samples: int
    min_snr: float

    def check(self, graph: ir.Graph) -> list[Problem]:
        """What HTP refuses; nothing is written.

        Raises:
            OnnxoptError: The libraries crashed, or took too long.
        """
        if found := hopeless(graph):
            return found
        with working_folder(PREFIX) as place:
            return self._problems(attempt(graph, self.soc.id, None, self.timeout, folder=place), graph, place)

    def write(self, graph: ir.Graph, data: DataSet | None) -> Artifact:
        """Build, run and compare, then put the files in their places.

        Raises:
            Refused: HTP refuses nodes.
            CheckFailed: The emulator's outputs are not those of onnxruntime, or it crashed on them.
            OnnxoptError: The libraries crashed or took too long, or a file cannot be written.
        """
        if found := hopeless(graph):
            raise Refused(found)
        with working_folder(PREFIX) as place, executable(graph) as model:
            trial = Trial.of(model, data, self.samples)
            done = attempt(graph, self.soc.id, trial.feeds, self.timeout, folder=place)
            if problems := self._problems(done, graph, place):
                raise Refused(problems)
            agreement = trial.compared(done.outputs)
            self._require_near(agreement, trial, graph)
            artifact = self._artifact(place, agreement, trial, [tensor.name for tensor in graph.inputs])
            self._put(place)
        return artifact

    def _problems(self, done: Attempt, graph: ir.Graph, place: Path) -> list[Problem]:
        if done.refused:
            return problems_of(done.refused)
        if done.ok:
            return unfit(built_in(place), self.soc, graph)
        tail = _last_error(done.log)
        text = f"{done.why}{f' ({tail})' if tail and tail not in done.why else ''}; nothing was written"
        if done.slow:
            raise OnnxoptError(f"{self.path}: {text}: give them more with timeout=SECONDS")
        if done.stage == "running":
            raise CheckFailed(f"{self.path}: {text}. Find the operator with onnxopt reduce")
        raise OnnxoptError(f"{self.path}: {text}")

    def _require_near(self, agreement: dict[str, Agreement], trial: Trial, graph: ir.Graph) -> None:
        if fault := trial.fault(agreement, self.min_snr, "on the emulator"):
            is_far = not any(found.broken for found in agreement.values())
            hint = f". {suspicion(graph)}" if is_far else ""
            raise CheckFailed(f"{self.path}: {fault}; nothing was written{hint}")

    def _artifact(self, place: Path, agreement: dict[str, Agreement], trial: Trial, inputs: list[str]) -> Artifact:
        built = built_in(place)
        wrapper = read_wrapper(place / WRAPPER)
        context = self.path if self._is_context else self.context_binary
        facts: dict[str, Any] = {
            "soc": {"name": self.soc.name, "id": self.soc.id, "hexagon": f"V{self.soc.arch}", "also": self.soc.also},
            "versions": {PACKAGE: version(PACKAGE), "QAIRT": wrapper.pop("sdk")},
            "sha256": sha256_of(place / (CONTEXT if self._is_context else DLC)),
            **built.facts(),
            **({} if self._is_context else {"dlc": inspect_dlc(place / DLC)}),
        }
        if context is not None:
            binary = place / CONTEXT
            facts["context_binary"] = {
                "file": os.path.relpath(context.absolute(), self.path.absolute().parent),
                "bytes": binary.stat().st_size,
                "sha256": sha256_of(binary),
                **wrapper,
            }
        ran = "the context binary" if context else "a context binary compiled of the same graph, not kept"
        facts["emulator"] = {"ran": ran, **trial.facts(agreement, self.min_snr)} if trial.feeds else None
        facts["not_verified_on_target"] = self._unverified(bool(trial.feeds))
        more = () if self._is_context or self.context_binary is None else (self.context_binary,)
        return Artifact(self.path, facts, tuple(_notes(self.path, built, agreement, trial, inputs)), more)

    @property
    def _is_context(self) -> bool:
        return self.path.suffix == ".bin"

    def _unverified(self, ran: bool) -> list[str]:
        found = ["latency, and anything else on a phone"]
        if not self._is_context:
            found.append("the DLC by itself: no engine here loads one; what ran is compiled of the same graph")
        return found if ran else [*found, "outputs: samples=0 was given, and nothing ran"]

    def _put(self, place: Path) -> None:
        """The files get their names when all of them are written."""
        wanted = [(CONTEXT, self.context_binary), (CONTEXT if self._is_context else DLC, self.path)]
        with ExitStack() as files:
            for name, path in wanted:
                if path is not None:
                    with (place / name).open("rb") as source:
                        shutil.copyfileobj(source, files.enter_context(replacing(path)), 1 << 20)


def _notes(path: Path, built: Built, agreement: dict[str, Agreement], trial: Trial, inputs: list[str]) -> list[str]:
    found = []
    if agreement:
        found.append(f"{path.name} on Qualcomm's HTP emulator, {trial.worst(agreement)}; {NO_LATENCY}")
    else:
        found.append(f"{path.name} was compiled, and never run: samples=0 was given")
    if narrow := built.narrowed:
        found.append(f"HTP computes int64 in 32 bits: values of {', '.join(narrow)} beyond them wrap round")
    if unread := [name for name in inputs if name not in built.inputs]:
        found.append(f"nothing reads the inputs {', '.join(unread)}, and {path.name} has them not")
    return found


def _last_error(log: str) -> str:
    """The last error that the libraries printed, without colours, time and place."""
    lines = [line for line in log.splitlines() if "[E:onnxruntime" in line and "power config" not in line]
    return lines[-1].rpartition("] ")[2].removesuffix("\x1b[m").strip()[:300] if lines else ""
