"""The instruments that the flags of `onnxopt run` ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from onnxopt.api import RunResult
from onnxopt.cli.console import note, print_changes
from onnxopt.cli.given import require_passes
from onnxopt.cli.progress import Progress
from onnxopt.errors import OnnxoptError
from onnxopt.pipeline.instruments.claims import Claims
from onnxopt.pipeline.instruments.costing import Costing
from onnxopt.pipeline.instruments.printing import Printing
from onnxopt.pipeline.instruments.snapshots import Snapshots
from onnxopt.pipeline.instruments.timing import Timing
from onnxopt.pipeline.manager import Instrument
from onnxopt.pipeline.pipeline import Pipeline
from onnxopt.pipeline.source import Source
from onnxopt.report.inspector.recording import Recording
from onnxopt.report.summary import Summary


@dataclass
class Watching:
    """The flags, and what the instruments made of them saw."""

    timing: bool
    print_before: Sequence[str] | None
    print_after: Sequence[str] | None
    print_changed: bool
    explain: Sequence[str] | None
    snapshots: Path | None
    check_claims: bool
    report: Path | None = None
    _costing: Costing = field(default_factory=Costing)
    _clock: Timing = field(default_factory=Timing)
    _recording: Recording = field(default_factory=Recording)

    def instruments(
        self, pipeline: Pipeline, dims: dict[str, int], progress: Progress, *, to_stderr: bool
    ) -> list[Instrument]:
        """Those asked for, in the order in which they watch.

        Args:
            pipeline: What will run.
            dims: Sizes of symbolic dimensions.
            progress: The bars, which make way for what is printed.
            to_stderr: Where to print: stdout holds one document with --json.

        Raises:
            BadOption: A flag names a pass that will not run.
        """
        before, after = self.print_before or (), self.print_after or ()
        for flag, names in (("--print-before", before), ("--print-after", after), ("--explain", self.explain or ())):
            require_passes(pipeline, flag, names)
        self._costing.dims = self._clock.dims = self._recording.dims = dims
        found: list[Instrument] = [progress, self._costing]
        found += [self._clock] if self.timing else []
        found += [Claims()] if self.check_claims else []
        found += [self._recording] if self.report else []
        if before or after or self.print_changed:
            write = progress.aside(partial(print_changes, to_stderr=to_stderr))
            found.append(Printing(write, before, after, self.print_changed))
        return found + ([Snapshots(self.snapshots)] if self.snapshots else [])

    def summary(self, result: RunResult) -> Summary:
        """What there is to tell of a finished run."""
        first, last = self._costing.first, self._costing.last
        assert first is not None and last is not None, "the run is finished"
        return Summary(result, first, last, self._clock.table)

    @contextmanager
    def reporting_failure(self, source: Source, pipeline: Pipeline) -> Iterator[None]:
        """Where the run in the block fails, write the report of what was seen until then."""
        try:
            yield
        except OnnxoptError as error:
            if self.report is not None and self._recording.steps:
                from onnxopt.report.inspector.page import write_page
                from onnxopt.report.inspector.story import story_of_failure

                title = source.path.name if source.path else source.name
                write_page(story_of_failure(title, str(pipeline.expand()), self._recording, str(error)), self.report)
                note(f"wrote {self.report}, which shows the run until it failed")
            raise

    def write_report(self, summary: Summary) -> None:
        """Write the page, where one was asked for.

        Raises:
            OnnxoptError: It cannot be written.
        """
        if self.report is not None:
            from onnxopt.report.inspector.page import write_page
            from onnxopt.report.inspector.story import story_of_run

            write_page(story_of_run(summary, self._recording), self.report)
