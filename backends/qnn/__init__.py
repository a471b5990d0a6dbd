"""The target `qnn`: Qualcomm's Hexagon tensor processor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from onnxopt.backends.qnn import rules
from onnxopt.backends.qnn.installed import require_installed
from onnxopt.backends.qnn.soc import find
from onnxopt.errors import BadOption
from onnxopt.pipeline.backend import Artifact, Backend, Problem
from onnxopt.pipeline.dialect import Dialect
from onnxopt.pipeline.quantization import QuantizationRules

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.backends.qnn.writing import Job
    from onnxopt.data import DataSet
    from onnxopt.data.scoring import Metric
    from onnxopt.runtime.evaluation import Accuracy

_DLC, _BINARY = ".dlc", ".bin"


@dataclass(frozen=True)
class Qnn(Backend):
    """Qualcomm HTP: a DLC (`PATH.dlc`), or an HTP context binary (`PATH.bin`), written by Qualcomm's own libraries.

    Before a file is there, the graph is compiled for the SoC and run on Qualcomm's HTP emulator, beside onnxruntime. A
    float graph is computed in fp16; integers, and where, are what `quantize` makes with `--target qnn`. One file has
    the whole model: where HTP refuses a node nothing is written, and every such node is named. Shapes must be static.

    Needs the extra `qnn` (onnxruntime-qnn, Python 3.11 or newer, x86-64 Linux). Qualcomm's terms apply to it.
    """

    suffixes: ClassVar[tuple[str, ...]] = (_DLC, _BINARY)
    engine: ClassVar[str] = (
        "on Qualcomm's HTP emulator, which has its arithmetic and not its speed: nothing here says how fast a phone is"
    )

    soc: str
    """What it will run on: SM8450, or as it is sold, "Snapdragon 8 Gen 1"."""
    context_binary: str | None = None
    """Beside a DLC, write the HTP context binary here: it is for this SoC only, and loads at once."""
    samples: int = 8
    """How many samples of the data to run on the emulator, or, without data, 2 sets of generated inputs; 0 for none."""
    min_snr: float = 15.0
    """The least signal-to-noise ratio of any output to onnxruntime's, in dB: below it nothing is written. Integers and
    booleans count as right or wrong. fp16 gives 40 to 70, 8 bits 24 to 40; activations quantized symmetrically, of
    which the libraries do not complain, about 0."""
    timeout: float = 600.0
    """Seconds that Qualcomm's libraries may take, compiling and emulating."""

    def __post_init__(self) -> None:
        """Refuse what the libraries would ignore in silence."""
        find(self.soc)
        if self.timeout <= 0:
            raise ValueError(f"timeout is more than 0 seconds, not {self.timeout:g}")
        if self.samples < 0:
            raise ValueError(f"samples is 0 or more, not {self.samples}")

    @classmethod
    def dialect(cls) -> Dialect:
        """One node for what HTP has an operator for."""
        return rules.DIALECT

    @classmethod
    def quantization(cls) -> QuantizationRules:
        """An encoding for everything that HTP computes."""
        return rules.QUANTIZATION

    def require_usable(self, path: Path) -> None:
        """Refuse what cannot be written here or to that path.

        Raises:
            BadOption: As `Backend.require_usable` does.
        """
        require_installed()
        if path.suffix not in self.suffixes:
            raise BadOption(
                f"qnn writes a DLC (.dlc) or an HTP context binary (.bin), and {path} is neither by its name"
            )
        if self.context_binary is None:
            return
        binary = Path(self.context_binary)
        if path.suffix == _BINARY:
            raise BadOption(f"{path} is a context binary itself: context-binary is for a DLC")
        if binary.suffix != _BINARY:
            raise BadOption(f"context-binary {binary}: give it the suffix .bin")
        if not binary.parent.is_dir():
            raise BadOption(f"context-binary: cannot write {binary}: there is no folder {binary.parent}")

    def check(self, graph: ir.Graph) -> list[Problem]:
        """Every node that HTP refuses, or that it cannot compile.

        Raises:
            OnnxoptError: Qualcomm's libraries crashed, or took too long.
        """
        return self._job(Path("model.dlc")).check(graph)

    def emit(self, graph: ir.Graph, path: Path) -> Artifact:
        """As `write`, on generated inputs."""
        return self.write(graph, path)

    def write(self, graph: ir.Graph, path: Path, data: DataSet | None = None) -> Artifact:
        """Build it, run it on the emulator, and write it when its outputs are near onnxruntime's.

        Raises:
            Refused: HTP refuses nodes.
            CheckFailed: The emulator gives other outputs, or crashed on these inputs.
            OnnxoptError: Qualcomm's libraries crashed or took too long; a file cannot be written.
        """
        self.require_usable(path)
        return self._job(path).write(graph, data)

    @classmethod
    def evaluate(
        cls, artifact: Path, reference: Path, data: DataSet, metric: Metric, report: Callable[[str, int, int], None]
    ) -> Accuracy:
        """Run the context binary, or the one that was written beside a DLC, on the emulator.

        Raises:
            BadModel: It has no sidecar, was changed since, or there is no context binary beside the DLC.
            OnnxoptError: Qualcomm's libraries crashed or took too long.
        """
        from onnxopt.backends.qnn.emulating import evaluate

        require_installed()
        return evaluate(artifact, reference, data, metric, report)

    @classmethod
    def inspect(cls, artifact: Path) -> dict[str, Any]:
        """Parts and versions of a DLC, from the file; the size of a context binary, whose inside is Qualcomm's own."""
        from onnxopt.backends.qnn.dlc import inspect_context, inspect_dlc

        return inspect_dlc(artifact) if artifact.suffix == _DLC else inspect_context(artifact)

    def _job(self, path: Path) -> Job:
        from onnxopt.backends.qnn.writing import Job

        binary = None if self.context_binary is None else Path(self.context_binary)
        return Job(find(self.soc), path, binary, self.timeout, self.samples, self.min_snr)
