"""The target `coreml`: Apple's Core ML."""

from __future__ import annotations

import dataclasses
import importlib.util
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from onnxopt.backends.coreml import rules
from onnxopt.backends.coreml.folder import digest, place
from onnxopt.backends.coreml.interface import Interface, Picture, Sizes, read_labels
from onnxopt.backends.coreml.interface.loading import example
from onnxopt.errors import BadOption
from onnxopt.pipeline.backend import Artifact, Backend, Problem
from onnxopt.pipeline.dialect import Dialect
from onnxopt.pipeline.quantization import QuantizationRules

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnxopt import ir
    from onnxopt.backends.coreml.compiling import Compiled
    from onnxopt.data import DataSet, Feeds
    from onnxopt.data.scoring import Metric
    from onnxopt.runtime.evaluation import Accuracy
    from onnxopt.runtime.trial import Trial

_INSPECT = "onnxopt.backends.coreml.inspecting:inspect_package"
_INSPECT_SECONDS = 120.0


@dataclass(frozen=True)
class Coreml(Backend):
    """Core ML: an ML Program package (`PATH.mlpackage`).

    Every operator is lowered to MIL by functions of ours; those that have none are first said as ONNX itself defines
    them, which the sidecar tells. What cannot be said in MIL is refused, every node with its attribute or input, and
    nothing is written then. Needs the extra `coreml` (coremltools 9), which writes packages on Linux and macOS. The
    older `.mlmodel` (neural network) is not written: every device that runs iOS 15 takes packages.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".mlpackage",)
    folder: ClassVar[bool] = True
    engine: ClassVar[str] = (
        "by MIL's semantics, in the precision that it stores, and on no device: nothing here says what Core ML makes "
        "of it, nor how fast"
    )

    target: Literal["iOS15", "iOS16", "iOS17", "iOS18", "iOS26"] = "iOS17"
    """The oldest system that has to run it (macOS 12 to 15 and 26 likewise): newer ones store weights smaller."""
    precision: Literal["float16", "float32"] = "float16"
    """What is computed in, and what weights in float are stored as. The Neural Engine computes in float16 only."""
    image: tuple[str, ...] = ()
    """Inputs that are images: of shape [1, 3, height, width], or of one channel. Apps hand in pictures then."""
    color: Literal["RGB", "BGR", "GRAY"] = "RGB"
    """The order of the channels of images, in and out."""
    scale: tuple[float, ...] = (1.0,)
    """What the numbers 0 to 255 of images that come in are multiplied by: one number, or one for each channel."""
    bias: tuple[float, ...] = (0.0,)
    """What is added then."""
    image_output: tuple[str, ...] = ()
    """Outputs that are images."""
    output_scale: tuple[float, ...] = (1.0,)
    """What images that go out are multiplied by, so that they are 0 to 255."""
    output_bias: tuple[float, ...] = (0.0,)
    """What is added then."""
    labels: str | None = None
    """A text file with a label a line: makes a classifier of a model whose only output are probabilities."""
    shapes: dict[str, str] = field(default_factory=dict)
    """Shapes that inputs of dynamic dimensions may have: `input:1..8x3x224x224`, or `input:1x3x224x224|1x3x192x192`,
    the first one being the default (the Neural Engine takes such lists; of ranges only the default, the least)."""
    io: Literal["float32", "float16"] = "float32"
    """What inputs and outputs of floats are; float16 needs iOS16, and saves a copy."""
    author: str | None = None
    """Whose model it is, as Xcode shows it."""
    license: str | None = None
    """Its licence, as Xcode shows it."""
    version: str | None = None
    """Its version, as Xcode shows it."""
    description: str | None = None
    """What it does, as Xcode shows it; what the ONNX model says of itself where nothing is given."""
    describe: dict[str, str] = field(default_factory=dict)
    """Descriptions of inputs and outputs: `input:"A photo",output:"Its classes"`."""
    compute_units: Literal["all", "cpu-and-neural-engine", "cpu-and-gpu", "cpu-only"] = "all"
    """Which units shall compute it. Apps say so as they load it: the sidecar has the code for that."""
    samples: int = 8
    """How many samples of the data to evaluate the package on before it is written, or, without data, 2 sets of
    generated inputs; 0 for none."""
    min_snr: float = 15.0
    """The least signal-to-noise ratio of any output to onnxruntime's, in dB: below it nothing is written. Integers and
    booleans count as right or wrong. float32 gives more than 100, float16 40 to 70."""
    timeout: float = 600.0
    """Seconds that coremltools may take, evaluating included."""

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if not (self.image or self.image_output) and self.color != "RGB":
            raise ValueError("color is for images; name them by image or image-output")
        if not self.image and (self.scale != (1.0,) or self.bias != (0.0,)):
            raise ValueError("scale and bias are for images; name them by image")
        if not self.image_output and (self.output_scale != (1.0,) or self.output_bias != (0.0,)):
            raise ValueError("output-scale and output-bias are for images; name them by image-output")
        if self.io == "float16" and self.target == "iOS15":
            raise ValueError("io=float16 needs target=iOS16")
        if self.samples < 0:
            raise ValueError(f"samples is 0 or more, not {self.samples}")
        if self.timeout <= 0:
            raise ValueError(f"timeout is more than 0 seconds, not {self.timeout:g}")
        self.interface()

    @classmethod
    def dialect(cls) -> Dialect:
        """One node for what MIL has one operation for."""
        return rules.DIALECT

    @classmethod
    def quantization(cls) -> QuantizationRules:
        """W8A8: symmetric int8 upon the inputs of convolutions and products."""
        return rules.QUANTIZATION

    def require_usable(self, path: Path) -> None:
        """Refuse what cannot be written here or to that path.

        Raises:
            BadOption: As `Backend.require_usable` does.
        """
        _require_installed()
        if path.suffix not in self.suffixes:
            raise BadOption(f"coreml writes a package (.mlpackage), and {path} is none by its name")
        if path.exists() and not (path / "Manifest.json").is_file():
            raise BadOption(f"{path} is there and is no package: it is not replaced; remove it, or give another path")

    def interface(self) -> Interface:
        """What the package shall look like from outside.

        Raises:
            BadOption: A shape cannot be read, or the labels.
        """
        given = Picture(self.color, self.scale, self.bias)
        out = Picture(self.color, self.output_scale, self.output_bias)
        return Interface(
            images=dict.fromkeys(self.image, given),
            image_outputs=dict.fromkeys(self.image_output, out),
            labels=() if self.labels is None else read_labels(self.labels),
            shapes={name: Sizes.parse(name, text) for name, text in self.shapes.items()},
            float16=self.io == "float16",
            author=self.author or "",
            license=self.license or "",
            version=self.version or "",
            description=self.description or "",
            features=self.describe,
        )

    def check(self, graph: ir.Graph) -> list[Problem]:
        """Every node that cannot be said in MIL, and every dimension that nobody gave sizes to.

        Raises:
            BadOption: An option does not fit the model.
        """
        return list(self._compile(graph).problems)

    def emit(self, graph: ir.Graph, path: Path) -> Artifact:
        """As `write`, on generated inputs."""
        return self.write(graph, path)

    def write(self, graph: ir.Graph, path: Path, data: DataSet | None = None) -> Artifact:
        """Write the package once what is on the disk was evaluated: the one that was there is whole until then.

        Raises:
            Refused: Nodes cannot be said in MIL.
            CheckFailed: Its outputs are not onnxruntime's, or an operation of it cannot be evaluated here.
        """
        from onnxopt.backends.coreml.evaluating import compare
        from onnxopt.pipeline.backend import Refused

        self.require_usable(path)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            made = Path(folder) / path.name
            compiled, trial, outputs = self._tried(graph, made, data)
            if compiled.problems:
                raise Refused(compiled.problems, "coreml")
            verified, note = compare(trial, outputs, self.min_snr, path)
            hashed = digest(made)
            place(made, path)
        facts = {
            "versions": compiled.versions,
            "target": self.target,
            "precision": self.precision,
            "spelled_out": compiled.spelled,
            "operations": compiled.operators,
            "names": compiled.names,
            "encodings": compiled.encodings,
            "notes": compiled.notes,
            "hash": hashed,
            "interface": dataclasses.asdict(self.interface()),
            "compute_units": self.compute_units,
            "loading": example(path, self.compute_units),
            **verified,
        }
        return Artifact(path, facts, (*compiled.notes, note))

    @classmethod
    def evaluate(
        cls, artifact: Path, reference: Path, data: DataSet, metric: Metric, report: Callable[[str, int, int], None]
    ) -> Accuracy:
        """Evaluate the package, as it is on the disk, by MIL's semantics.

        Raises:
            BadModel: It is no package, is damaged, or is none of that model.
            BadOption: coremltools is missing.
            CheckFailed: An operation of it cannot be evaluated here.
        """
        from onnxopt.backends.coreml.evaluating import evaluate

        _require_installed()
        return evaluate(artifact, reference, data, metric, report)

    @classmethod
    def inspect(cls, artifact: Path) -> dict[str, Any]:
        """What the package itself says: operations, bytes, encodings, inputs, outputs and metadata.

        Raises:
            BadModel: It is no package, or is damaged.
            BadOption: coremltools is missing.
        """
        from onnxopt.runtime.child import run_in_child

        _require_installed()
        return run_in_child(_INSPECT, artifact, timeout=_INSPECT_SECONDS)  # type: ignore[no-any-return]

    def _compile(self, graph: ir.Graph) -> Compiled:
        """Only to see what is refused."""
        return self._in_child("onnxopt.backends.coreml.compiling:compile_model", graph, None)  # type: ignore[no-any-return]

    def _tried(self, graph: ir.Graph, package: Path, data: DataSet | None) -> tuple[Compiled, Trial, list[Feeds]]:
        """Written, and what it gave on the samples; no outputs where something is refused."""
        from onnxopt.backends.coreml.compiling import Compiled as Refusal
        from onnxopt.data import outputs_of
        from onnxopt.runtime.executable import executable, header_of
        from onnxopt.runtime.trial import Trial as Tried

        with executable(graph) as model:
            trial = Tried.of(model, data, self.samples, self._default_sizes(graph))
            outputs = [spec for spec in outputs_of(header_of(model)) if spec.name not in trial.skipped]
        target = "onnxopt.backends.coreml.evaluating:compile_and_run"
        found = self._in_child(target, graph, package, trial.feeds, outputs)
        return (found, trial, []) if isinstance(found, Refusal) else (found[0], trial, found[1])

    def _default_sizes(self, graph: ir.Graph) -> dict[str, int]:
        """What dimensions with names are where nothing else is asked for."""
        found = {}
        given = self.interface().shapes
        for tensor in graph.inputs:
            sizes = given[tensor.name].shapes[0] if tensor.name in given else ()
            for dim, size in zip(tensor.shape or (), sizes, strict=False):
                if isinstance(dim, str) and dim:
                    found[dim] = size[0] if isinstance(size, tuple) else size
        return found

    def _in_child(self, target: str, graph: ir.Graph, package: Path | None, *more: Any) -> Any:
        from onnxopt import ir
        from onnxopt.backends.coreml.compiling import Asked, Compiled
        from onnxopt.backends.coreml.interface.fitting import problems, require_fits
        from onnxopt.runtime.child import run_in_child

        require_fits(graph, self.interface())
        if found := problems(graph, self.interface()):
            return Compiled(found)
        with tempfile.TemporaryDirectory(prefix="onnxopt-coreml-") as folder:
            model = Path(folder) / "model.onnx"
            ir.save(graph, model)
            asked = Asked(self.target, self.precision, self.interface())
            return run_in_child(target, model, asked, package, *more, timeout=self.timeout)


def _require_installed() -> None:
    if importlib.util.find_spec("coremltools") is None:
        raise BadOption("coreml needs coremltools: pip install 'onnxopt[coreml]'")
