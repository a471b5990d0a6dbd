"""From a graph to an engine on the disk: checked, parsed and built, or an error and no file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxopt import ir
from onnxopt.atomic import replacing
from onnxopt.backends.tensorrt import profiles as shapes
from onnxopt.backends.tensorrt.building import PREFIX, Attempt, attempt
from onnxopt.backends.tensorrt.flavor import Flavor
from onnxopt.backends.tensorrt.layers import layers_of
from onnxopt.backends.tensorrt.naming import with_names
from onnxopt.backends.tensorrt.precisions import notes
from onnxopt.backends.tensorrt.progress import Report
from onnxopt.backends.tensorrt.refused import builder_problem, parser_problems
from onnxopt.backends.tensorrt.refusing import hazards
from onnxopt.backends.tensorrt.wanted import ENGINE, TIMINGS, Port, Profile, Wanted
from onnxopt.backends.tensorrt.wanted_precision import Precision, problems
from onnxopt.errors import BadModel, BadOption, OnnxoptError
from onnxopt.pipeline.backend import Artifact, Problem, Refused
from onnxopt.runtime.digest import sha256_of
from onnxopt.runtime.working_folder import working_folder

NOT_MEASURED = "not measured: no GPU"
_NOT_RUN = "not measured: it was built, and not run"
_DTYPES = {"float": "float32", "half": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True)
class Job:
    """What is wanted of a graph."""

    path: Path
    flavor: Flavor
    precision: Precision | None
    workspace: int
    profiles: Mapping[str, Profile]
    values: Mapping[str, Profile]
    capabilities: tuple[str, ...]
    timing_cache: Path | None
    timeout: float
    report: Report | None = field(default=None, compare=False)

    def check(self, graph: ir.Graph) -> list[Problem]:
        """What TensorRT refuses, or builds wrongly; an engine is built, and thrown away.

        Raises:
            BadOption: An option does not fit the graph.
            OnnxoptError: TensorRT crashed, or took too long.
        """
        if found := self._hopeless(graph):
            return found
        with working_folder(PREFIX) as place:
            graph = with_names(graph.copy())
            return self._problems(self._attempt(graph, place), graph)

    def write(self, graph: ir.Graph) -> Artifact:
        """Build the engine, then put it in its place.

        Raises:
            Refused: TensorRT refuses nodes.
            BadOption: An option does not fit the graph.
            OnnxoptError: TensorRT crashed or took too long, or a file cannot be written.
        """
        if found := self._hopeless(graph):
            raise Refused(found)
        with working_folder(PREFIX) as place:
            graph = with_names(graph.copy())
            done = self._attempt(graph, place)
            if found := self._problems(done, graph):
                raise Refused(found)
            artifact = self._artifact(done, graph, place)
            _copy(place / ENGINE, self.path)
            if self.timing_cache is not None:
                _copy(place / TIMINGS, self.timing_cache)
        return artifact

    def _hopeless(self, graph: ir.Graph) -> list[Problem]:
        """What is refused before TensorRT is asked."""
        shapes.require_fit(graph, self.profiles, self.values)
        return [
            *hazards(graph, self.flavor.name),
            *problems(graph, self.precision),
            *shapes.missing(graph, self.profiles),
        ]

    def _attempt(self, graph: ir.Graph, place: Path) -> Attempt:
        if self.timing_cache is not None and self.timing_cache.exists():
            shutil.copyfile(self.timing_cache, place / TIMINGS)
        wanted = Wanted(
            self.flavor.module,
            self.workspace,
            self.profiles,
            self.values,
            self.capabilities,
            timing_cache=self.timing_cache is not None,
        )
        return attempt(graph, wanted, self.timeout, folder=place, report=self.report)

    def _problems(self, done: Attempt, graph: ir.Graph) -> list[Problem]:
        if done.refused:
            return parser_problems(done.refused, graph)
        if done.ok:
            return []
        if done.stage == "checking":
            return [Problem("the graph", done.why)]
        if done.built.lacking:
            raise BadOption(f"tensorrt: {done.why}")
        if done.is_crash:
            more = f"; give it more with timeout={self.timeout * 2:g}" if done.is_slow else ""
            raise OnnxoptError(f"{self.path}: {done.why}; nothing was written{more}")
        return [builder_problem(done, graph)]

    def _artifact(self, done: Attempt, graph: ir.Graph, place: Path) -> Artifact:
        report = layers_of(done.log).facts(graph)
        latency = _NOT_RUN if done.built.has_gpu else NOT_MEASURED
        facts: dict[str, Any] = {
            "versions": {f"TensorRT{'-RTX' * (self.flavor.name == 'rtx')}": done.built.version},
            "flavor": self.flavor.name,
            "compute_capabilities": list(done.built.capabilities),
            "precision": self.precision,
            "graph_inputs": [_port(port) for port in done.built.inputs],
            "graph_outputs": [_port(port) for port in done.built.outputs],
            "profiles": shapes.facts({**self.profiles, **self.values}),
            "workspace": self.workspace,
            "bytes": done.size,
            "sha256": sha256_of(place / ENGINE),
            **report,
            "latency": latency,
            "not_verified_on_target": ["outputs and latency: the engine was not run, which takes a GPU"],
        }
        told = f"{self.path.name} was built, and never run; latency: {latency}"
        return Artifact(self.path, facts, (told, *notes(report["precisions"])))


def require_same(artifact: Path, facts: Mapping[str, Any] | None) -> None:
    """Refuse an engine that is not the one that its sidecar tells of.

    Raises:
        BadModel: It has no sidecar, or was changed since.
    """
    if facts is None:
        raise BadModel(f"{artifact} has no sidecar {artifact.name}.json, and an engine cannot be opened without a GPU")
    if "sha256" not in facts or "flavor" not in facts:
        raise BadModel(f"{artifact}.json is no sidecar of a TensorRT engine")
    if sha256_of(artifact) != facts["sha256"]:
        raise BadModel(f"{artifact} is not what its sidecar was written of: emit it again")


def _copy(source: Path, path: Path) -> None:
    with source.open("rb") as file, replacing(path) as target:
        shutil.copyfileobj(file, target, 1 << 20)


def _port(port: Port) -> dict[str, Any]:
    return {"name": port.name, "dtype": _DTYPES.get(port.dtype, port.dtype), "shape": list(port.shape)}
