"""The target `coreml-kit`: a package and what measures it, on a Mac or an iPhone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from onnxopt.backends.coreml import Coreml
from onnxopt.backends.coreml.folder import place
from onnxopt.errors import BadModel, BadOption
from onnxopt.pipeline.backend import Artifact
from onnxopt.pipeline.sidecar import write_sidecar

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.data import DataSet, Feeds
    from onnxopt.data.scoring import Metric
    from onnxopt.runtime.evaluation import Accuracy

PACKAGE = "model.mlpackage"
SCRIPTS = ("measure.py", "Measure.swift", "README.txt")
"""Copied as they are."""
UNMEASURED = "latency: not measured; run measure.py of the kit on a Mac, or Measure.swift on an iPhone"


@dataclass(frozen=True)
class CoremlKit(Coreml):
    """A folder with a Core ML package and the programs that measure how fast it is, on a Mac or an iPhone.

    No machine but Apple's computes packages, so that nothing here is measured. `measure.py` (Python on macOS) and
    `Measure.swift` (macOS, iOS) load the package for each choice of compute units, and write `latency.json`.
    """

    graphs_of: ClassVar[str] = "coreml"
    suffixes: ClassVar[tuple[str, ...]] = ()

    def require_usable(self, path: Path) -> None:
        """Refuse what cannot become a kit.

        Raises:
            BadOption: coremltools is missing; a file, or a folder that is no kit, is there.
        """
        self._package().require_usable(path / PACKAGE)
        if path.exists() and not (path / SCRIPTS[0]).is_file():
            raise BadOption(f"{path} is there and is no kit: it is not replaced; remove it, or give another path")

    def write(self, graph: ir.Graph, path: Path, data: DataSet | None = None) -> Artifact:
        """Write the folder: the one that was there is whole until the new one is.

        Raises:
            OnnxoptError: As `Coreml.write` does.
        """
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            made = Path(folder) / path.name
            made.mkdir()
            artifact = self._package().write(graph, made / PACKAGE, data)
            write_sidecar(made / PACKAGE, {"artifact": PACKAGE, "backend": "coreml", **artifact.facts})
            for name in SCRIPTS:
                (made / name).write_bytes((Path(__file__).parent / name).read_bytes())
            place(made, path)
        return Artifact(path, {**artifact.facts, "latency": "not measured"}, (*artifact.notes, UNMEASURED))

    def _package(self) -> Coreml:
        return Coreml(**{each.name: getattr(self, each.name) for each in fields(Coreml)})

    @classmethod
    def evaluate(
        cls, artifact: Path, reference: Path, data: DataSet, metric: Metric, report: Callable[[str, int, int], None]
    ) -> Accuracy:
        """Evaluate the package in it, as `Coreml.evaluate` does.

        Raises:
            OnnxoptError: As there.
        """
        return super().evaluate(artifact / PACKAGE, reference, data, metric, report)

    @classmethod
    def inspect(cls, artifact: Path) -> dict[str, Any]:
        """The package in it, and the latency where it was measured.

        Raises:
            BadModel: It has no package, or one that is damaged; the measurements are none of it.
        """
        from onnxopt.backends.coreml_kit.latency import NAME, lines, read_latency

        if not (artifact / PACKAGE).is_dir():
            raise BadModel(f"{artifact} is no kit: it has no {PACKAGE}")
        found = super().inspect(artifact / PACKAGE)
        measured = read_latency(artifact / NAME, found["hash"]) if (artifact / NAME).is_file() else None
        return {**found, "kind": "Core ML kit", "latency": lines(measured)}

    @classmethod
    def latency(cls, artifact: Path, feeds: Feeds) -> dict[str, float | str]:
        """The median that the kit's programs measured, by compute units.

        Raises:
            BadModel: `latency.json` cannot be read, or is of another package.
        """
        from onnxopt.backends.coreml.folder import digest
        from onnxopt.backends.coreml_kit.latency import NAME, NOT_MEASURED, UNITS, read_latency

        if not (artifact / NAME).is_file():
            return {units: UNMEASURED.removeprefix("latency: ") for units in UNITS[:1]}
        measured = read_latency(artifact / NAME, digest(artifact / PACKAGE))
        return {
            f"{measured.device}, {run.units}": f"{NOT_MEASURED}: {run.error}" if run.median is None else run.median
            for run in measured.runs
        }
