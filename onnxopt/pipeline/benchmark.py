"""Models and artifacts side by side: bytes, latency, memory, accuracy, and what could not be measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt.errors import BadOption
from onnxopt.pipeline.backend import Backend, backend_of
from onnxopt.pipeline.sidecar import artifact_bytes

if TYPE_CHECKING:
    from onnxopt.data import DataSet
    from onnxopt.data.scoring import Metric
    from onnxopt.runtime.evaluation import Accuracy
    from onnxopt.runtime.memory import Memory
    from onnxopt.runtime.side_by_side import Conditions, SideBySide

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Entry:
    """What is measured."""

    name: str
    """As tables call it."""
    path: Path
    """An ONNX model, or an artifact."""
    backend: type[Backend] | None = None
    """What wrote the artifact; None for a model."""
    simulated: bool = False
    """Whether another engine will run the model, so that onnxruntime is to judge it as it is written."""

    @classmethod
    def of(cls, path: Path, name: str = "") -> Entry:
        """A file or a folder.

        Raises:
            BadModel: The sidecar of an artifact cannot be read.
        """
        return cls(name or path.name, path, backend_of(path))


@dataclass(frozen=True)
class Figures:
    """What was found of one of them, whatever the batch."""

    entry: Entry
    bytes: int
    """On disk: of a model its external data too."""
    nodes: int | None
    """Of all scopes; None for an artifact."""
    memory: Memory | None = None
    """None for an artifact."""
    accuracy: Accuracy | None = None
    """Beside the first model; None where nobody asked."""
    device: Mapping[str, float | str] = field(default_factory=dict)
    """Of an artifact: milliseconds on its own device by what computed it, or why they are not known."""
    remark: str = ""
    """Why the accuracy of an artifact is not known."""


@dataclass(frozen=True)
class Batch:
    """The latency of the models for one size of a batch."""

    size: int
    found: SideBySide
    inputs: str
    """What the first model ran on, for people."""


@dataclass(frozen=True)
class Benchmark:
    """Everything that was measured."""

    figures: tuple[Figures, ...]
    """In the order that they were given; the first is a model, beside which the others are."""
    batches: tuple[Batch, ...]
    """Their models are those of `figures` that are no artifacts, in the same order."""
    conditions: Conditions
    data: str
    """Where the inputs come from, for people."""

    def latencies(self, batch: Batch) -> dict[int, int]:
        """The place in `batch.found` by the place in `figures`, of those that were measured."""
        measured = [place for place, each in enumerate(self.figures) if each.entry.backend is None]
        return {place: index for index, place in enumerate(measured)}


@dataclass(frozen=True)
class Request:
    """What to measure, and how."""

    entries: Sequence[Entry]
    conditions: Conditions
    data: DataSet | None = None
    """Samples of the first model to run on; generated inputs where there are none."""
    batches: Sequence[int] = ()
    """Sizes to sweep; one, or what the model fixes, where empty."""
    dims: Mapping[str, int] = field(default_factory=dict)
    judged: tuple[DataSet, Metric] | None = None
    report: Report | None = None

    def run(self) -> Benchmark:
        """Measure: latency first, all models in one process, then memory, each in its own, then accuracy.

        Raises:
            BadOption: The first is an artifact, or a batch is of no size that the models take.
            NotRunnable: onnxruntime refuses a model or its inputs.
            OnnxoptError: A model, an artifact or the data cannot be read.
        """
        from onnxopt.runtime.bench_inputs import bench_inputs, shown_inputs
        from onnxopt.runtime.side_by_side import side_by_side

        if self.entries[0].backend is not None:
            raise BadOption(f"{self.entries[0].path} is an artifact: name the model that it was made of before it")
        models = [entry.path for entry in self.entries if entry.backend is None]
        sessions = [self.conditions.open(model) for model in models]
        sizes = self.batches or (None,)
        fed = [bench_inputs(models, sessions, self.data, size, self.dims) for size in sizes]  # all, before any is timed
        fixed = _batch_size(sessions[0], self.data)
        del sessions
        batches = [
            Batch(size or fixed, side_by_side(models, feeds, self.conditions, self.report), shown_inputs(feeds[0][0]))
            for size, feeds in zip(sizes, fed, strict=True)
        ]
        told = "generated inputs" if self.data is None else f"samples of {self.data.source}"
        feeds_of = dict(zip(models, fed[0], strict=True))
        figures = tuple(self._figures(entry, feeds_of.get(entry.path, fed[0][0])) for entry in self.entries)
        return Benchmark(figures, tuple(batches), self.conditions, told)

    def _figures(self, entry: Entry, feeds: Any) -> Figures:
        from onnxopt.runtime.memory import peak_memory

        size, nodes = _file_and_nodes(entry)
        if entry.backend is not None:
            accuracy, why = self._artifact_accuracy(entry, entry.backend)
            return Figures(entry, size, nodes, None, accuracy, entry.backend.latency(entry.path, feeds[0]), why)
        if self.report is not None:
            self.report(f"memory and accuracy of {entry.name}", 0, 0)
        how = self.conditions
        memory = peak_memory(entry.path, feeds, optimize=how.optimize, threads=how.threads)
        return Figures(entry, size, nodes, memory, self._accuracy(entry))

    def _accuracy(self, entry: Entry) -> Accuracy | None:
        from onnxopt.runtime.evaluation import Subject, evaluate

        if self.judged is None:
            return None
        first = self.entries[0].path
        model = Subject(str(entry.path), entry.path, simulated=entry.simulated)
        return evaluate(Subject(str(first), first), model, *self.judged, self.report)

    def _artifact_accuracy(self, entry: Entry, backend: type[Backend]) -> tuple[Accuracy | None, str]:
        """In the target's own engine; a reason where that does not run here."""
        if self.judged is None:
            return None, ""
        try:
            return backend.evaluate(entry.path, self.entries[0].path, *self.judged, self.report or _silent), ""
        except BadOption as error:
            return None, str(error)


def _batch_size(session: Any, data: DataSet | None) -> int:
    """Samples at a time where nobody says."""
    from onnxopt.runtime.bench_inputs import batch_of

    return (data.layout.batch if data is not None else None) or batch_of(session.inputs) or 1


def _silent(what: str, done: int, total: int) -> None:
    """Tells nobody."""


def _file_and_nodes(entry: Entry) -> tuple[int, int | None]:
    """Bytes on disk, of a model its external data too, and of a model the nodes of all scopes."""
    from onnxopt import ir
    from onnxopt.ir.weights import weight_files

    if entry.backend is not None:
        return artifact_bytes(entry.path), None
    graph = ir.load(entry.path)
    own = entry.path.resolve()
    beside = sum(size for path, size in weight_files(graph).items() if path.resolve() != own)
    return artifact_bytes(entry.path) + beside, sum(1 for _ in ir.every_node(graph))
