"""What a target is, and how an artifact is asked for: `BACKEND{options}=PATH`."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt import strict_json
from onnxopt.atomic import replacing
from onnxopt.errors import BadModel, BadOption
from onnxopt.pipeline import grammar
from onnxopt.pipeline.options import OptionError, build
from onnxopt.pipeline.suggest import did_you_mean
from onnxopt.pipeline.target import Target, target_class, target_names

if TYPE_CHECKING:
    from onnxopt import ir

_EMISSION = re.compile(r'([\w-]+(?:\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\})?)=(.+)', re.DOTALL)


@dataclass(frozen=True)
class Problem:
    """Something that a target would refuse."""

    node: str
    reason: str


@dataclass(frozen=True)
class Artifact:
    """What a backend wrote."""

    path: Path
    facts: dict[str, Any] = field(default_factory=dict)
    """What the backend has to say of it: goes into the sidecar."""


@dataclass(frozen=True)
class Backend(Target, ABC):
    """A target that can be written. A subclass is a frozen dataclass whose fields are its options, as with a pass."""

    @abstractmethod
    def check(self, graph: ir.Graph) -> list[Problem]:
        """What the target would refuse, every node named."""

    @abstractmethod
    def emit(self, graph: ir.Graph, path: Path) -> Artifact:
        """Write the artifact, atomically."""


def backend_names() -> list[str]:
    """The built-in backends: the targets that can be written."""
    return [name for name in target_names() if issubclass(target_class(name), Backend)]


def backend_class(name: str) -> type[Backend]:
    """The backend of that name.

    Raises:
        BadOption: There is none.
    """
    if name not in target_names():
        known = f"; there are: {', '.join(backend_names())}"
        raise BadOption(f"there is no backend '{name}'" + did_you_mean(name, backend_names(), known))
    found = target_class(name)
    if not issubclass(found, Backend):
        raise BadOption(f"graphs are prepared for {name} (--target {name}), but it cannot be written yet")
    return found


@dataclass(frozen=True)
class Emission:
    """One artifact that was asked for."""

    backend: Backend
    text: str
    """The backend and its options, as they were written."""
    path: Path

    @classmethod
    def parse(cls, text: str) -> Emission:
        """Read `BACKEND{options}=PATH`.

        Raises:
            BadOption: Not of that form, no such backend, or no such option.
            BadPipeline: The options cannot be read.
        """
        match = _EMISSION.fullmatch(text)
        if not match:
            raise BadOption(f"--emit {text}: give it as BACKEND=PATH or BACKEND{{option=value}}=PATH")
        head, path = match.groups()
        (element,) = grammar.parse(head)
        try:
            backend = build(backend_class(element.name), {option.key: option.value for option in element.options})
        except OptionError as error:
            raise BadOption(f"--emit {text}: {error}") from error
        return cls(backend, head, Path(path))

    def write(self, graph: ir.Graph, about: Mapping[str, Any]) -> Artifact:
        """Check the graph, write the artifact, then its sidecar `PATH.json`.

        Args:
            graph: What to emit.
            about: What the run knows: the input and its hash, the pipeline, what was verified.

        Raises:
            BadModel: The target refuses the graph; every node is named.
            OnnxoptError: The artifact cannot be written.
        """
        problems = self.backend.check(graph)
        if problems:
            listed = "".join(f"\n  {problem.node}: {problem.reason}" for problem in problems)
            raise BadModel(f"{self.text} refuses {len(problems)} node{'s' * (len(problems) > 1)}:{listed}")
        artifact = self.backend.emit(graph, self.path)
        facts = {
            "artifact": artifact.path.name,
            "backend": self.text,
            "bytes": artifact.path.stat().st_size,
            "inputs": [tensor.name for tensor in graph.inputs],
            "outputs": [tensor.name for tensor in graph.outputs],
            "versions": {name: version(name) for name in ("onnxopt", "onnx", "onnxruntime")},
            **about,
            **artifact.facts,
        }
        with replacing(artifact.path.with_name(artifact.path.name + ".json")) as file:
            file.write(f"{strict_json.dumps(facts)}\n".encode())
        return artifact
