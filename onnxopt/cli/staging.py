"""`run --stages`: the model after each named pass, and each artifact, side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from onnxopt.errors import BadOption

if TYPE_CHECKING:
    from onnxopt.data import DataSet
    from onnxopt.data.scoring import Metric
    from onnxopt.pipeline.backend import Artifact, Emission
    from onnxopt.pipeline.benchmark import Benchmark
    from onnxopt.pipeline.instruments.stages import Stages
    from onnxopt.pipeline.pipeline import Pipeline


@dataclass
class Staging:
    """Keeps the models of the stages while a run goes on, and measures them when it is done."""

    wanted: bool
    plot: Path | None = None
    found: Benchmark | None = None
    """What was measured, after `measure`."""
    _stages: Stages | None = field(default=None, repr=False)
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse, before the run, what could not be drawn after it.

        Raises:
            BadOption: A plot of no stages, or nothing draws.
        """
        from onnxopt.report.sensitivity_plot import require_plotting

        if self.plot is not None and not self.wanted:
            raise BadOption("--plot draws what --stages measures, which is not given")
        if self.plot is not None:
            require_plotting()

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def instruments(self, pipeline: Pipeline) -> list[Stages]:
        """What keeps the models; nothing where no stages are wanted."""
        from onnxopt.pipeline.instruments.stages import Stages

        if not self.wanted:
            return []
        self._folder = tempfile.TemporaryDirectory(prefix="onnxopt-")
        self._stages = Stages(pipeline, Path(self._folder.name))
        return [self._stages]

    def measure(
        self,
        emitted: Sequence[tuple[Emission, Artifact]],
        data: DataSet | None,
        dims: dict[str, int],
        judged: tuple[DataSet, Metric] | None,
        report: Callable[[str, int, int], None],
        *,
        simulated: bool,
    ) -> None:
        """Measure all stages beside the input model, and draw them where that is asked for.

        Raises:
            NotRunnable: onnxruntime refuses a stage.
        """
        from onnxopt.pipeline.backend import backend_of
        from onnxopt.pipeline.benchmark import Entry, Request
        from onnxopt.report.bench_plot import plot_bench
        from onnxopt.runtime.side_by_side import Conditions

        if self._stages is None:
            return
        entries = [Entry(name, path, simulated=simulated and place > 0)
                   for place, (name, path) in enumerate(self._stages.models)]  # fmt: skip
        entries += [Entry(one.text, made.path, backend_of(made.path)) for one, made in emitted]
        self.found = Request(entries, Conditions(threads=1), data, (), dims, judged, report=report).run()
        if self.plot is not None:
            plot_bench(self.found, self.plot, str(self._stages.pipeline))
