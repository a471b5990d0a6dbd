"""The instruments that the flags of `onnxopt run` ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnxopt.api import RunResult
from onnxopt.cli.console import print_text, tell_text
from onnxopt.cli.given import require_passes
from onnxopt.cli.progress import Progress
from onnxopt.pipeline.instruments.claims import Claims
from onnxopt.pipeline.instruments.costing import Costing
from onnxopt.pipeline.instruments.printing import Printing
from onnxopt.pipeline.instruments.snapshots import Snapshots
from onnxopt.pipeline.instruments.timing import Timing
from onnxopt.pipeline.manager import Instrument
from onnxopt.pipeline.pipeline import Pipeline
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
    _costing: Costing = field(default_factory=Costing)
    _clock: Timing = field(default_factory=Timing)

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
        self._costing.dims = self._clock.dims = dims
        found: list[Instrument] = [progress, self._costing]
        found += [self._clock] if self.timing else []
        found += [Claims()] if self.check_claims else []
        if before or after or self.print_changed:
            write = progress.aside(tell_text if to_stderr else print_text)
            found.append(Printing(write, before, after, self.print_changed))
        return found + ([Snapshots(self.snapshots)] if self.snapshots else [])

    def summary(self, result: RunResult) -> Summary:
        """What there is to tell of a finished run."""
        first, last = self._costing.first, self._costing.last
        assert first is not None and last is not None, "the run is finished"
        return Summary(result, first, last, self._clock.table)
