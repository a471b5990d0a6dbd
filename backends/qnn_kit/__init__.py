"""The target `qnn-kit`: a folder for Qualcomm's SNPE / QAIRT SDK."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from onnxopt.backends.qnn import rules
from onnxopt.backends.qnn_kit.place import require_replaceable
from onnxopt.errors import BadOption
from onnxopt.pipeline.backend import Artifact, Backend, Problem, Refused
from onnxopt.pipeline.dialect import Dialect
from onnxopt.pipeline.quantization import QuantizationRules

if TYPE_CHECKING:
    from onnxopt import ir
    from onnxopt.data import DataSet

_WORD = re.compile(r"[^\s#%\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class QnnKit(Backend):
    """A folder for Qualcomm's SDK (SNPE, QAIRT): model, encodings, samples and a script that converts and runs them.

    For chips without an HTP path (Snapdragon 845), and for people who have the SDK. It holds the float model and, where
    that came quantized, what its tensors were stored as: AIMET's encodings, which the SDK's converter takes. The SDK is
    neither needed here nor run: what of the kit is verified stands in its README.txt. Qualcomm's terms apply to it.

    The samples are those of `--data`, which also read back: `--data DIR`.
    """

    graphs_of: ClassVar[str] = "qnn"
    folder: ClassVar[bool] = True
    calibrates: ClassVar[bool] = True

    flow: Literal["snpe", "qairt"] = "snpe"
    """The SDK's programs: the classic ones (snpe-onnx-to-dlc, snpe-dlc-quantize, snpe-net-run), or today's
    (qairt-converter, qairt-quantizer, qnn-net-run). The script takes another one by `--flow`."""
    runtime: Literal["cpu", "gpu", "dsp", "htp"] = "dsp"
    """What computes on the device; the model is quantized for `dsp` and `htp`. The script takes another by
    `--runtime`."""
    hexagon: str = "v65"
    """Which libraries go onto the device for `dsp` and `htp`: v65 is Snapdragon 845's, v69 that of 8 Gen 1."""
    layout: Literal["nhwc", "nchw"] = "nhwc"
    """The order of axes in raw files of inputs with four axes, and of the DLC's: SNPE wants channels last."""
    samples: int = 100
    """At most so many samples, evenly spread over the data."""
    native: bool = False
    """Write raw files in the inputs' own types; else they are float32, whatever the input takes."""
    activation_bits: Literal[8, 16] = 8
    """Of activations that have no encoding yet."""
    ranges: str | None = None
    """A file of `--save-ranges`, of the very graph that is emitted: encodings of a model that is not quantized."""
    output_layers: tuple[str, ...] = ()
    """Operators, by name, of which the tools shall give out what they compute: the line `#` of the list."""
    output_tensors: tuple[str, ...] = ()
    """Tensors that the tools shall give out: the line `%` of the list."""

    def __post_init__(self) -> None:
        """Refuse what the script could not say."""
        if self.samples < 1:
            raise ValueError(f"samples is 1 or more, not {self.samples}")
        if not re.fullmatch(r"v\d{2,3}", self.hexagon):
            raise ValueError(f"hexagon is a version as v65, not {self.hexagon}")
        for name in (*self.output_layers, *self.output_tensors):
            if not _WORD.fullmatch(name):
                raise ValueError(f"the list cannot say the name {name!r}: it has blanks, # or %")

    @classmethod
    def dialect(cls) -> Dialect:
        """As HTP: the SDK's converters are the same."""
        return rules.DIALECT

    @classmethod
    def quantization(cls) -> QuantizationRules:
        """As HTP."""
        return rules.QUANTIZATION

    def require_usable(self, path: Path) -> None:
        """Refuse a path that cannot become a kit.

        Raises:
            BadOption: A file or a folder with other things in it is there, or no folder to make it in.
        """
        require_replaceable(path)

    def check(self, graph: ir.Graph) -> list[Problem]:
        """Inputs that raw files cannot hold, and what is no float model between Q and DQ. Operators are the SDK's."""
        from onnxopt.backends.qnn_kit.making import problems_of

        return problems_of(graph)

    def emit(self, graph: ir.Graph, path: Path) -> Artifact:
        """Refused: a kit needs samples.

        Raises:
            BadOption: Always.
        """
        raise BadOption("qnn-kit needs samples, to calibrate on and to run: give --data")

    def write(self, graph: ir.Graph, path: Path, data: DataSet | None = None) -> Artifact:
        """Write the folder: the one that was there is whole until the new one is.

        Raises:
            Refused: There are inputs or integers that a kit cannot have.
            BadOption: There are no samples, or the path or a name is none that can be used.
            BadData: A sample cannot be written.
            OnnxoptError: The folder cannot be written.
        """
        from onnxopt.backends.qnn_kit.making import make

        self.require_usable(path)
        if problems := self.check(graph):
            raise Refused(problems)
        if data is None:
            return self.emit(graph, path)
        return make(self, graph, path, data)
