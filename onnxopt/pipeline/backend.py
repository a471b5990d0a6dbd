"""What a target is, and how an artifact is asked for: `BACKEND{options}=PATH`."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from onnxopt.errors import BadModel, BadOption
from onnxopt.pipeline import grammar
from onnxopt.pipeline.options import OptionError, build
from onnxopt.pipeline.sidecar import artifact_bytes, read_sidecar, write_sidecar
from onnxopt.pipeline.suggest import did_you_mean
from onnxopt.pipeline.target import Target, target_class, target_names

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.data import DataSet, Feeds
    from onnxopt.data.scoring import Metric
    from onnxopt.runtime.evaluation import Accuracy

Report = Callable[[str, int, int], None]
_EMISSION = re.compile(r'([\w-]+(?:\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\})?)=(.+)', re.DOTALL)


@dataclass(frozen=True)
class Problem:
    """Something that a target would refuse."""

    node: str
    reason: str


class Refused(BadModel):
    """A target refuses a graph; every node that it refuses is named."""

    def __init__(self, problems: Sequence[Problem], who: str = "the target") -> None:
        listed = "".join(f"\n  {problem.node}: {problem.reason}" for problem in problems)
        super().__init__(f"{who} refuses {len(problems)} node{'s' * (len(problems) > 1)}:{listed}")
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Artifact:
    """What a backend wrote."""

    path: Path
    """A file or a folder."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the backend has to say of it: goes into the sidecar. Its `versions` are added to those of ours."""
    notes: tuple[str, ...] = ()
    """What people shall hear of it, one line each."""
    more: tuple[Path, ...] = ()
    """Other files that were written."""


@dataclass(frozen=True)
class Preparation:
    """What a finished graph still needs to be what the options ask for, for instance a precision."""

    pipeline: str = ""
    """The passes; empty for none."""
    unverifiable: str = ""
    """Why onnxruntime cannot compare what comes of them, in one line; empty where it can."""


@dataclass(frozen=True)
class Backend(Target, ABC):
    """A target that can be written. A subclass is a frozen dataclass whose fields are its options, as with a pass.

    Where the target's engine runs here, the subclass overrides `evaluate` too, and `write`, to run what it is about to
    write; where its artifacts can be looked into, `inspect`.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Of the artifacts that `evaluate` and `inspect` take; those whose sidecar names the backend need none."""
    folder: ClassVar[bool] = False
    """Whether its artifacts are folders: one that is there may be replaced."""
    engine: ClassVar[str] = ""
    """Where `evaluate` runs them, and what that does not tell, for people: `on the emulator of X, which ...`."""
    calibrates: ClassVar[bool] = False
    """Whether the samples that `write` is given are for the target's own calibration: then they are those of the run,
    and never those that models are judged on."""

    @abstractmethod
    def check(self, graph: ir.Graph) -> list[Problem]:
        """What the target would refuse, every node named."""

    @abstractmethod
    def emit(self, graph: ir.Graph, path: Path) -> Artifact:
        """Write the artifact, atomically."""

    def require_usable(self, path: Path) -> None:
        """Refuse, before any work is done, what cannot be written here or to that path.

        Raises:
            BadOption: A package is missing, or the path has another suffix than the artifact.
        """

    def preparation(self, graph: ir.Graph) -> Preparation:
        """What a run does with a copy of the graph, and its own data, before it writes the artifact.

        The sidecar tells of these passes. `write` refuses a graph that is not what the options ask for.
        """
        return Preparation()

    def write(self, graph: ir.Graph, path: Path, data: DataSet | None = None) -> Artifact:
        """Check the graph, then emit it; where the target's engine runs here, not before it ran the artifact.

        Args:
            graph: What to emit.
            path: Where to.
            data: Samples to run it on; generated ones where there are none.

        Raises:
            Refused: The target refuses the graph.
            CheckFailed: The engine gives other outputs than onnxruntime; nothing was written.
            OnnxoptError: It cannot be written.
        """
        problems = self.check(graph)
        if problems:
            raise Refused(problems)
        return self.emit(graph, path)

    def write_reporting(self, graph: ir.Graph, path: Path, data: DataSet | None, report: Report | None) -> Artifact:
        """As `write`; a backend whose engine tells how far it is overrides this one.

        Args:
            graph: What to emit.
            path: Where to.
            data: Samples to run it on.
            report: Told what is done, as (what, done, total).
        """
        return self.write(graph, path, data)

    @classmethod
    def opens(cls) -> bool:
        """Whether its artifacts are something else than models, and can be looked into."""
        return any("inspect" in vars(each) for each in cls.__mro__ if each is not Backend)

    @classmethod
    def evaluate(
        cls, artifact: Path, reference: Path, data: DataSet, metric: Metric, report: Callable[[str, int, int], None]
    ) -> Accuracy:
        """Run an artifact in the target's own engine, and judge it beside an ONNX model in onnxruntime.

        Args:
            artifact: As `write` wrote it, with its sidecar.
            reference: The model that it was made of.
            data: Samples for the reference.
            metric: What to judge by.
            report: Told what is done, as (what, done, total).

        Raises:
            BadOption: The target's engine does not run here.
            OnnxoptError: It cannot run the artifact.
        """
        raise BadOption(f"the engine of {cls.__name__.lower()} does not run here: {artifact} cannot be verified")

    @classmethod
    def latency(cls, artifact: Path, feeds: Feeds) -> dict[str, float | str]:
        """How long one run of an artifact takes on the target's device, by what computed it.

        Milliseconds where the device is here, or somebody measured it there; else why not, in one line.

        Args:
            artifact: As `write` wrote it, with its sidecar.
            feeds: What to run it on, where that can be done here.

        Raises:
            BadModel: What was measured cannot be read, or is of another artifact.
        """
        return {cls.__name__.lower(): "not measured: no device of this target is here"}

    @classmethod
    def inspect(cls, artifact: Path) -> dict[str, Any]:
        """What an artifact is made of, read from itself: facts that JSON takes.

        Raises:
            BadModel: It is none, or is damaged.
            BadOption: The target's artifacts cannot be looked into.
        """
        raise BadOption(f"{artifact}: artifacts of {cls.__name__.lower()} cannot be looked into")


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


def backend_of(artifact: Path) -> type[Backend] | None:
    """The backend that wrote an artifact: the one that its sidecar names, else that of its suffix; None for a model.

    Raises:
        BadModel: The sidecar cannot be read.
    """
    known = [backend for name in backend_names() if (backend := backend_class(name)).suffixes or backend.opens()]
    facts = read_sidecar(artifact)
    name = str((facts or {}).get("backend", "")).partition("{")[0]
    if name in backend_names():
        return next((backend for backend in known if backend is target_class(name)), None)
    return next((backend for backend in known if artifact.suffix in backend.suffixes), None)


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
        backend.require_usable(Path(path))
        return cls(backend, head, Path(path))

    def write(
        self, graph: ir.Graph, about: Mapping[str, Any], data: DataSet | None = None, report: Report | None = None
    ) -> Artifact:
        """Check the graph, write the artifact, then its sidecar `PATH.json`.

        Args:
            graph: What to emit.
            about: What the run knows: the input and its hash, the pipeline, what was verified.
            data: Samples for the target's own engine, where that runs here.
            report: Told how far the target's engine is, where it says so: what, done, total.

        Raises:
            BadModel: The target refuses the graph; every node is named.
            CheckFailed: The target's engine gives other outputs than onnxruntime.
            OnnxoptError: The artifact cannot be written.
        """
        try:
            artifact = self.backend.write_reporting(graph, self.path, data, report)
        except Refused as refused:
            raise Refused(refused.problems, self.text) from refused
        versions = {name: version(name) for name in ("onnxopt", "onnx", "onnxruntime")}
        facts = {
            "artifact": artifact.path.name,
            "backend": self.text,
            "bytes": artifact_bytes(artifact.path),
            "inputs": [tensor.name for tensor in graph.inputs],
            "outputs": [tensor.name for tensor in graph.outputs],
            **about,
            **artifact.facts,
            "versions": versions | artifact.facts.get("versions", {}),
        }
        write_sidecar(artifact.path, facts)
        return artifact
