"""What a target is, and how an artifact is asked for: `BACKEND{options}=PATH`."""

from __future__ import annotations

import hashlib
import json
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt.atomic import replacing
from onnxopt.errors import BadModel, BadOption
from onnxopt.pipeline import grammar
from onnxopt.pipeline.options import build
from onnxopt.pipeline.suggest import did_you_mean

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.pipeline.source import Source

PACKAGE = "onnxopt.backends"


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
class Backend(ABC):
    """A target. A subclass is a frozen dataclass whose fields are its options, as with a pass."""

    @abstractmethod
    def check(self, graph: ir.Graph) -> list[Problem]:
        """What the target would refuse, every node named."""

    @abstractmethod
    def emit(self, graph: ir.Graph, path: Path) -> Artifact:
        """Write the artifact, atomically."""


def backend_names() -> list[str]:
    """The built-in backends, by file name."""
    package = import_module(PACKAGE)
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def backend_class(name: str) -> type[Backend]:
    """The backend of that name.

    Raises:
        BadOption: There is none.
    """
    if name not in backend_names():
        raise BadOption(f"there is no backend '{name}'" + did_you_mean(name, backend_names(), _known()))
    module = import_module(f"{PACKAGE}.{name}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Backend) and value.__module__ == module.__name__:
            return value
    raise TypeError(f"{module.__name__} defines no Backend")


def _known() -> str:
    return f"; there are: {', '.join(backend_names())}"


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
        close = text.find("}") + 1
        head, equals, path = (
            text[:close] + text[close:].partition("=")[0],
            "=" in text[close:],
            text[close:].partition("=")[2],
        )
        if not equals or not path:
            raise BadOption(f"--emit {text}: give it as BACKEND=PATH or BACKEND{{option=value}}=PATH")
        elements = grammar.parse(head)
        if len(elements) != 1 or elements[0].body is not None:
            raise BadOption(f"--emit {text}: give one backend")
        texts = {option.key: option.value for option in elements[0].options}
        return cls(build(backend_class(elements[0].name), texts), head, Path(path))

    def write(self, graph: ir.Graph, source: Source, about: Mapping[str, Any]) -> Artifact:
        """Check the graph, write the artifact, then its sidecar `PATH.json`.

        Args:
            graph: What to emit.
            source: What went in; its file's hash goes into the sidecar.
            about: What the run knows: the pipeline, what was verified.

        Raises:
            BadModel: The target refuses the graph; every node is named.
            OnnxoptError: The artifact cannot be written.
        """
        problems = self.backend.check(graph)
        if problems:
            listed = "\n".join(f"  {problem.node}: {problem.reason}" for problem in problems)
            raise BadModel(f"{self.text} refuses {len(problems)} nodes:\n{listed}")
        artifact = self.backend.emit(graph, self.path)
        facts = {
            "artifact": artifact.path.name,
            "backend": self.text,
            "bytes": artifact.path.stat().st_size,
            "input": {"model": source.name, "sha256": _sha256(source.path)},
            "inputs": [tensor.name for tensor in graph.inputs],
            "outputs": [tensor.name for tensor in graph.outputs],
            "versions": {name: version(name) for name in ("onnxopt", "onnx", "onnxruntime")},
            **about,
            **artifact.facts,
        }
        with replacing(artifact.path.with_name(artifact.path.name + ".json")) as file:
            file.write(json.dumps(facts, indent=2).encode() + b"\n")
        return artifact


def _sha256(path: Path | None) -> str | None:
    if path is None:
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
