"""onnxopt without the shell: the same thing that the commands do."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt.errors import BadOption, CheckFailed, OnnxoptError, PassFailed
from onnxopt.pipeline.backend import Artifact, Emission
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.instruments.claims import Claims
from onnxopt.pipeline.instruments.provenance import Provenance
from onnxopt.pipeline.instruments.verify import Verified, Verify
from onnxopt.pipeline.latency_guard import LatencyGuard
from onnxopt.pipeline.manager import Instrument, Manager, PassRun
from onnxopt.pipeline.pipeline import Pipeline
from onnxopt.pipeline.preparing import emit
from onnxopt.pipeline.recipe import Recipe
from onnxopt.pipeline.reproducer import flags, write_reproducer
from onnxopt.pipeline.source import Source
from onnxopt.pipeline.target import target_class

if TYPE_CHECKING:
    from onnx import ModelProto

    from onnxopt import ir
    from onnxopt.data import DataSet
    from onnxopt.report.inspector.inline import Report
    from onnxopt.report.inspector.recording import Recording


@dataclass(frozen=True, repr=False)
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
    verified: Sequence[Verified] = ()
    """The comparisons with the input model; empty where none was asked for."""
    skipped: Sequence[str] = ()
    """Outputs that were not compared, since they depend on random operators."""
    compared_on: str = ""
    """The inputs of the comparisons, for people."""
    nodes_before: int = 0
    """Nodes of the input model, all scopes."""
    latency: LatencyGuard | None = None
    """What was measured; None where that was not asked for."""
    recording: Recording | None = None
    """What the report shows of every pass; None where it was not asked for."""

    def report(self, path: str | Path | None = None) -> Report:
        """The page that shows the graph before and after every pass; a notebook shows it inline.

        Every pass is in it where the run was asked to `record`; else only the graphs before the first and after the
        last.

        Args:
            path: Where to write it too.

        Raises:
            OnnxoptError: It cannot be written.
        """
        from onnxopt.report.inspector.inline import report_of

        made = report_of(self)
        if path is not None:
            made.save(path)
        return made

    def save(self, path: str | Path) -> None:
        """Write the graph as an ONNX model, atomically.

        Raises:
            OnnxoptError: It cannot be written; what was at `path` before is still there.
        """
        from onnxopt import ir

        ir.save(self.graph, path)

    def write(
        self, output: Path | None, emissions: Sequence[Emission], about: Mapping[str, Any], data: DataSet | None = None
    ) -> list[Artifact]:
        """Write the model, and the artifacts with their sidecars, which say what `about` says of the run.

        Args:
            output: Where the model goes; none: nowhere.
            emissions: The artifacts.
            about: What the sidecars say of the run.
            data: Samples for the targets' own engines, where those run here; those of the run where there are none, and
                for targets that calibrate.

        Raises:
            CheckFailed: A target's engine gives other outputs than onnxruntime.
            OnnxoptError: A target refuses the graph, or it cannot be written.
        """
        told = {"input": {"model": self.source.name, "sha256": self.source.sha256()}, **about} if emissions else {}
        if output is not None:  # the hash is taken: this may be the input itself
            self.save(output)
        return [emit(self.graph, each, self.context, told, data, verifies=bool(self.verified)) for each in emissions]

    def __repr__(self) -> str:
        from onnxopt.report.summary import headline

        return f"<RunResult {headline(self)}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the table of before and after, or one line where the source is no longer there."""
        from onnxopt.report.summary import Summary, headline
        from onnxopt.report.text import html

        try:
            summary = Summary.of(self)
        except OnnxoptError:
            return html(headline(self))
        return html(summary.table() if summary.before.nodes == self.nodes_before else headline(self))


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
    plugins: Sequence[Path] = ()
    """The files that the passes come from, for the commands that errors propose."""
    reproducer: Path | None = None
    """Where to write a reproducer when a pass fails; none is written where this is None."""
    report_progress: Callable[[str, int, int], None] | None = None
    provenance: bool = True
    """Whether nodes are told, in their metadata, what they were made of and by which rewrites."""
    guard: LatencyGuard | None = None
    """Takes back the passes that make the model slower."""
    context: Context = field(default_factory=Context)

    def run(self) -> RunResult:
        """Run it.

        Raises:
            OnnxoptError: As `onnxopt.run`.
        """
        from onnxopt import ir

        ctx = self.context = Context(self.target, self.data, self.limit, self.report_progress)
        if self.target is not None:
            target_class(self.target)
        provenance = [Provenance()] if self.provenance else []
        if self.verify is not None:
            self.verify.fixed = self.pipeline.fixed_dims()
        manager = Manager([*provenance, *self.instruments, *([self.verify] if self.verify else [])], self.guard)
        graph = self.source.load()
        nodes = sum(len(scope.nodes) for scope in ir.every_graph(graph))
        try:
            manager.run(graph, self.pipeline, ctx)
        except (PassFailed, CheckFailed) as error:
            if remedy := self._remedy(error, manager):
                raise type(error)(f"{error}\n{remedy}") from error
            raise
        result = RunResult(graph, self.source, self.pipeline, manager.runs, ctx, nodes_before=nodes, latency=self.guard)
        if self.verify is None:
            return result
        return replace(
            result,
            verified=self.verify.results,
            skipped=sorted(self.verify.skipped),
            compared_on=self.verify.compared_on,
        )

    def _remedy(self, error: PassFailed | CheckFailed, manager: Manager) -> str:
        """What to do next, as a line of the message."""
        dims = self.verify.dims if self.verify else {}
        repeated = flags(self.plugins, self.data, self.target, dims)
        if manager.current is None:  # before the first pass, or after the last
            words = ["onnxopt", "bisect", self.source.name, "--passes", str(self.pipeline), *repeated]
            return f"find the pass with: {shlex.join(words)}" if manager.runs and self.source.path else ""
        if self.reproducer is None:
            return ""
        repeated += ["--verify-each"] * (self.verify is not None and self.verify.each)
        repeated += ["--check-claims"] * any(isinstance(instrument, Claims) for instrument in self.instruments)
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        try:
            command = write_reproducer(
                self.reproducer, self.source, self.pipeline, manager.current, cause, self.context, repeated
            )
        except OnnxoptError as reason:  # what failed first is what the user must hear
            return f"no reproducer: {reason}"
        return f"reproduce it with: {command}"


def run(
    model: str | Path | ModelProto | ir.Graph,
    passes: str | Path | Pipeline = "O1",
    *,
    data: str | Path | DataSet | None = None,
    target: str | None = None,
    verify: bool | None = None,
    verify_each: bool = False,
    dims: Mapping[str, int] | None = None,
    limit: int | None = None,
    plugins: Sequence[str | Path] = (),
    instruments: Sequence[Instrument] = (),
    provenance: bool = True,
    guard_latency: bool = False,
    reproducer: str | Path | None = None,
    record: bool = False,
) -> RunResult:
    """Push a model through a pipeline of passes.

    Args:
        model: A file, a ModelProto or a graph; none of them is changed.
        passes: A pipeline, its text (`"O2"`, `"fold-constants,fuse-depthwise{merge=never}"`), or a TOML pipeline file.
        data: Calibration samples, also run by the verification: anything that `--data` takes.
        target: The target that the graph is prepared for.
        verify: Compare the finished graph with the input model; by default where there are data.
        verify_each: Compare after every pass.
        dims: Sizes of symbolic dimensions, for generated inputs.
        limit: Allow only so many rewrites.
        plugins: Python files with passes of your own.
        instruments: What else shall watch.
        provenance: Tell in the metadata of each changed node what it was made of, and by which rewrites.
        guard_latency: Measure the model in onnxruntime round each pass, and take back what makes it slower.
        reproducer: A folder for the reproducer that a failing pass leaves.
        record: Keep what changed at every pass, for `report`.

    Raises:
        BadModel, BadData, BadPipeline, BadOption: What was given cannot be used.
        CheckFailed: An output changed by more than the passes promise.
        PassFailed: A pass raised.
    """
    source = Source.of(model)
    recipe = Recipe.of(passes, [Path(plugin) for plugin in plugins])
    chosen = recipe.data if data is None else data
    fixed = recipe.pipeline.fixed_dims()
    samples = open_samples(source, chosen, fixed) if isinstance(chosen, (str, Path)) else chosen
    recording = _recording(dims or {}) if record else None
    result = RunRequest(
        source,
        recipe.pipeline,
        samples,
        recipe.target if target is None else target,
        limit,
        verification(samples, verify, verify_each, dims or {}),
        [*([] if recording is None else [recording]), *instruments],
        recipe.plugins,
        None if reproducer is None else Path(reproducer),
        provenance=provenance,
        guard=LatencyGuard(samples, dims or {}) if guard_latency else None,
    ).run()
    return result if recording is None else replace(result, recording=recording)


def _recording(dims: Mapping[str, int]) -> Recording:
    from onnxopt.report.inspector.recording import Recording

    return Recording(dims)


def verification(data: DataSet | None, at_end: bool | None, each: bool, dims: Mapping[str, int]) -> Verify | None:
    """The instrument for what was asked for: nothing said at all means at the end, where there are data.

    Raises:
        BadOption: After each pass, and not at the end, is asked for.
    """
    if each and at_end is False:
        raise BadOption("to verify each pass and to leave the result unverified exclude each other")
    wanted = each or (data is not None if at_end is None else at_end)
    return Verify(data, each=each, dims=dict(dims)) if wanted else None


def open_samples(source: Source, data: str | Path, fixed: Mapping[str, int] | None = None) -> DataSet:
    """The calibration set at `data`, for the inputs of a model; NaN and infinity in it are refused as they pass.

    Where passes are going to fix dimensions of the inputs, `fixed` has their sizes, and the samples come in batches of
    these.

    Raises:
        BadData: It is not there, or does not fit the model.
    """
    from onnxopt import ir
    from onnxopt.data import inputs_of, open_data
    from onnxopt.data.dataset import require_finite
    from onnxopt.runtime.dimensions import fixed_spec

    specs = inputs_of(ir.to_proto(source.load(), max_inline=0))
    return require_finite(open_data(data, [fixed_spec(spec, fixed or {}) for spec in specs]))
