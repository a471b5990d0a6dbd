"""The target `tensorrt`: NVIDIA's TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from onnxopt.backends.tensorrt import profiles, rules
from onnxopt.backends.tensorrt.flavor import Choice, find
from onnxopt.backends.tensorrt.wanted import WORKSPACE, Profile
from onnxopt.backends.tensorrt.wanted_precision import Precision, passes_for
from onnxopt.errors import BadOption
from onnxopt.pipeline.backend import Artifact, Backend, Preparation, Problem
from onnxopt.pipeline.dialect import Dialect
from onnxopt.pipeline.quantization import QuantizationRules
from onnxopt.pipeline.sidecar import read_sidecar

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.backends.tensorrt.writing import Job
    from onnxopt.data import DataSet, Feeds
    from onnxopt.data.scoring import Metric
    from onnxopt.runtime.evaluation import Accuracy


@dataclass(frozen=True)
class Tensorrt(Backend):
    """TensorRT: a serialized engine (`PATH.engine`, `PATH.plan`), built by NVIDIA's own builder.

    The graph says what is computed in which precision: networks are strongly typed. TensorRT-RTX builds without a GPU,
    for all of NVIDIA's RTX cards; the full TensorRT 10 or 11 for the GPU that is here. Every node that the parser or
    the builder refuses is named, and so is what they would build and compute wrongly, or in float without a word.

    Needs the extra `tensorrt` (tensorrt-rtx-cu12), or the full `tensorrt`. NVIDIA's terms apply to them. DLA is left
    out.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".engine", ".plan")
    engine: ClassVar[str] = "on the GPU of this machine"

    precision: Precision | None = None
    """What the engine is to compute in. A graph that is not in it yet becomes so by our passes, which the sidecar's
    pipeline tells: convert-float16 (fp16, bf16), quantize, which needs data (int8), quantize-weights (int4 and fp8,
    of weights alone). None: as the graph is."""
    flavor: Choice = "auto"
    """Which TensorRT: TensorRT-RTX, or the full one; auto takes the full one where it can build."""
    workspace: int = WORKSPACE
    """Bytes of scratch memory that a layer may take: `2GiB`."""
    shapes: dict[str, str] = field(default_factory=dict)
    """Shapes that inputs of dynamic dimensions may have, least..largest or least..best..largest:
    `input:1x3x224x224..8x3x224x224`. Of two, it is fastest at the largest."""
    values: dict[str, str] = field(default_factory=dict)
    """Values that inputs which decide shapes may have: `shape:1x4..8x4`."""
    compute_capabilities: tuple[str, ...] = ()
    """Of the cards that it is for, `8.6,8.9`; none: all that TensorRT-RTX builds for by itself. The full TensorRT
    builds for the one that is here."""
    timing_cache: str | None = None
    """A file in which the full TensorRT keeps how fast kernels were, so that the next build is fast, and the same.
    TensorRT-RTX measures none."""
    timeout: float = 600.0
    """Seconds that the builder may take."""

    def __post_init__(self) -> None:
        """Refuse what cannot be read."""
        self._profiles("shapes", self.shapes)
        self._profiles("values", self.values)
        if self.timeout <= 0:
            raise ValueError(f"timeout is more than 0 seconds, not {self.timeout:g}")
        if self.workspace <= 0:
            raise ValueError(f"workspace is more than 0 bytes, not {self.workspace}")
        if len(set(self.compute_capabilities)) < len(self.compute_capabilities):
            raise ValueError("compute-capabilities: one is given twice")

    @classmethod
    def dialect(cls) -> Dialect:
        """One node for what its parser maps to one layer."""
        return rules.DIALECT

    @classmethod
    def quantization(cls) -> QuantizationRules:
        """Symmetric int8 upon the inputs of layers, not their outputs."""
        return rules.QUANTIZATION

    def require_usable(self, path: Path) -> None:
        """Refuse what cannot be written here or to that path.

        Raises:
            BadOption: As `Backend.require_usable` does.
        """
        found = find(self.flavor)
        if path.suffix not in self.suffixes:
            raise BadOption(f"tensorrt writes an engine (.engine or .plan), and {path} is none by its name")
        if self.timing_cache is not None and not found.caches_timings:
            raise BadOption("timing-cache: TensorRT-RTX measures no kernels as it builds, and has no use for one")

    def preparation(self, graph: ir.Graph) -> Preparation:
        """The passes by which the graph comes into the precision that is asked for."""
        unverifiable = "onnxruntime computes nothing in bfloat16 on a processor" if self.precision == "bf16" else ""
        return Preparation(passes_for(graph, self.precision), unverifiable)

    def check(self, graph: ir.Graph) -> list[Problem]:
        """Every node that the parser refuses, or the one that does not build, or what would be silently wrong.

        Raises:
            BadOption: An option does not fit the graph, or TensorRT is not here.
            OnnxoptError: It crashed, or took too long.
        """
        return self._job(Path("model.engine")).check(graph)

    def emit(self, graph: ir.Graph, path: Path) -> Artifact:
        """As `write`."""
        return self.write(graph, path)

    def write(self, graph: ir.Graph, path: Path, data: DataSet | None = None) -> Artifact:
        """As `write_reporting`, telling nobody."""
        return self.write_reporting(graph, path, data)

    def write_reporting(
        self,
        graph: ir.Graph,
        path: Path,
        data: DataSet | None = None,
        report: Callable[[str, int, int], None] | None = None,
    ) -> Artifact:
        """Check, build, and write the engine.

        Raises:
            Refused: TensorRT refuses nodes, or the graph is in another precision.
            OnnxoptError: TensorRT crashed or took too long; a file cannot be written.
        """
        self.require_usable(path)
        return self._job(path, report).write(graph)

    @classmethod
    def evaluate(
        cls, artifact: Path, reference: Path, data: DataSet, metric: Metric, report: Callable[[str, int, int], None]
    ) -> Accuracy:
        """Run the engine on the GPU of this machine.

        Raises:
            BadOption: There is none, or not what takes it there.
            BadModel: It has no sidecar, was changed since, or TensorRT does not load it.
            OnnxoptError: TensorRT crashed or took too long.
        """
        from onnxopt.backends.tensorrt.evaluating import evaluate

        return evaluate(artifact, reference, data, metric, report)

    @classmethod
    def latency(cls, artifact: Path, feeds: Feeds) -> dict[str, float | str]:
        """The median of runs on the GPU of this machine, where there is one.

        Raises:
            OnnxoptError: TensorRT does not run the engine there, or not on these inputs.
        """
        from onnxopt.backends.tensorrt.evaluating import latency

        try:
            return {"the GPU of this machine": 1e3 * latency(artifact, feeds).percentile(50)}
        except BadOption as error:
            return {"tensorrt": str(error)}

    @classmethod
    def inspect(cls, artifact: Path) -> dict[str, Any]:
        """That the engine is the one that its sidecar tells of: it cannot be opened without a GPU.

        Raises:
            BadModel: It has no sidecar, or was changed since.
        """
        from onnxopt.backends.tensorrt.writing import require_same

        facts = read_sidecar(artifact)
        require_same(artifact, facts)
        return {"engine": "as its sidecar tells; to be opened, it takes a GPU", "bytes": artifact.stat().st_size}

    def _job(self, path: Path, report: Callable[[str, int, int], None] | None = None) -> Job:
        from onnxopt.backends.tensorrt.writing import Job

        return Job(
            path,
            find(self.flavor),
            self.precision,
            self.workspace,
            self._profiles("shapes", self.shapes),
            self._profiles("values", self.values),
            self.compute_capabilities,
            None if self.timing_cache is None else Path(self.timing_cache),
            self.timeout,
            report,
        )

    @staticmethod
    def _profiles(option: str, texts: dict[str, str]) -> dict[str, Profile]:
        return {name: profiles.parse(option, name, text) for name, text in texts.items()}
