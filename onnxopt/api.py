"""onnxopt without the shell: the same thing that the commands do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onnxopt.errors import CheckFailed, PassFailed
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.instruments.verify import Verified, Verify
from onnxopt.pipeline.manager import Instrument, Manager, PassRun
from onnxopt.pipeline.pipeline import Pipeline, parse_pipeline
from onnxopt.pipeline.registry import Registry
from onnxopt.pipeline.reproducer import write_reproducer
from onnxopt.pipeline.source import Source

if TYPE_CHECKING:
    from onnx import ModelProto

    from onnxopt import ir
    from onnxopt.data import DataSet


@dataclass(frozen=True)
class RunResult:
    """A finished run."""

    graph: ir.Graph
    """The graph as the last pass left it."""
    source: Source
    """What went in."""
    pipeline: Pipeline
    runs: Sequence[PassRun]
    """Every pass that was reached, in order."""
    context: Context
    """Rewrites, refusals, statistics and warnings."""
    verified: Sequence[Verified]
    """The comparisons with the input model; empty where none was asked for."""

    def save(self, path: str | Path) -> None:
        """Write the graph as an ONNX model, atomically."""
        from onnxopt import ir

        ir.save(self.graph, path)


@dataclass
class RunRequest:
    """What to run, and under whose eyes."""

    source: Source
    pipeline: Pipeline
    data: DataSet | None = None
    target: str | None = None
    limit: int | None = None
    verify: Verify | None = None
    instruments: Sequence[Instrument] = ()
    """Further ones; `verify` comes last, so that they see what it refuses."""
    reproducer: Path | None = None
    """Where to write a reproducer when a pass fails; none is written where this is None."""
    reproducer_arguments: Sequence[str] = ()
    report_progress: Callable[[str, int, int], None] | None = None
    context: Context = field(default_factory=Context)

    def run(self) -> RunResult:
        """Run it.

        Raises:
            OnnxoptError: As `onnxopt.run`.
        """
        ctx = self.context = Context(self.target, self.data, self.limit, self.report_progress)
        manager = Manager([*self.instruments, *([self.verify] if self.verify else [])])
        graph = self.source.load()
        try:
            manager.run(graph, self.pipeline, ctx)
        except (PassFailed, CheckFailed) as error:
            raise self._with_reproducer(error, manager) from error
        verified = self.verify.results if self.verify else ()
        return RunResult(graph, self.source, self.pipeline, manager.runs, ctx, verified)

    def _with_reproducer(self, error: PassFailed | CheckFailed, manager: Manager) -> PassFailed | CheckFailed:
        if self.reproducer is None or not manager.runs:
            return error
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        command = write_reproducer(
            self.reproducer,
            self.source,
            self.pipeline,
            manager.runs[-1],
            cause,
            self.context,
            self.reproducer_arguments,
        )
        return type(error)(f"{error}\nreproduce it with: {command}")


def run(
    model: str | Path | ModelProto | ir.Graph,
    passes: str | Pipeline = "O1",
    *,
    data: str | Path | DataSet | None = None,
    target: str | None = None,
    verify: bool | None = None,
    verify_each: bool = False,
    limit: int | None = None,
    plugins: Sequence[str | Path] = (),
    instruments: Sequence[Instrument] = (),
    reproducer: str | Path | None = None,
) -> RunResult:
    """Push a model through a pipeline of passes.

    Args:
        model: A file, a ModelProto or a graph; none of them is changed.
        passes: A pipeline, or its text: `"O2"`, `"fold-constants,fuse-depthwise{merge=never}"`.
        data: Calibration samples, also run by the verification: anything that `--data` takes.
        target: The target that the graph is prepared for.
        verify: Compare the finished graph with the input model; by default where there are data.
        verify_each: Compare after every pass.
        limit: Allow only so many rewrites.
        plugins: Python files with passes of your own.
        instruments: What else shall watch.
        reproducer: A folder for the reproducer that a failing pass leaves.

    Raises:
        BadModel, BadData, BadPipeline, BadOption: What was given cannot be used.
        CheckFailed: An output changed by more than the passes promise.
        PassFailed: A pass raised.
    """
    source = Source.of(model)
    registry = Registry.installed()
    for plugin in plugins:
        registry.load_plugin(Path(plugin))
    pipeline = parse_pipeline(passes, registry) if isinstance(passes, str) else passes
    samples = open_samples(source, data) if isinstance(data, (str, Path)) else data
    check = (
        Verify(samples, each=verify_each)
        if verify_each or (samples is not None if verify is None else verify)
        else None
    )
    folder = None if reproducer is None else Path(reproducer)
    return RunRequest(source, pipeline, samples, target, limit, check, instruments, folder).run()


def open_samples(source: Source, data: str | Path) -> DataSet:
    """The data set at `data`, for the inputs of a model.

    Raises:
        BadData: It is not there, or does not fit the model.
    """
    from onnxopt import ir
    from onnxopt.data import inputs_of, open_data

    return open_data(data, inputs_of(ir.to_proto(source.load(), max_inline=0)))
