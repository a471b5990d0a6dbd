"""Packages of one model in every form, and what coremltools' own compression makes of its plain one."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from coreml_subjects import Array, Arrays, Run, Task
from reporting import tick

import onnxopt
from onnxopt import ir

LOSSLESS = "convert-opset{opset=17},O3"
PRUNED = "prune{{method=second-order sparsity={} scope=global}},reconstruct"
WEIGHTS = "quantize-weights"
VARIANTS: dict[str, tuple[str, ...]] = {
    "float32": (),
    "float16": (),
    "int8 weights": (WEIGHTS,),
    "W8A8": ("quantize{keep-float=Add}",),
    "30 % zeros": (PRUNED.format(0.3),),
    "75 % zeros": (PRUNED.format(0.75),),
    "30 % zeros, int8": (PRUNED.format(0.3), WEIGHTS),
    "4-bit palette": ("quantize-weights{type=palette}",),
}
"""What follows what is lossless, one run after the other, for `--target coreml`; all but the first are computed in
float16. Sums stay float, as in benchmarks/quantization.py."""
CALIBRATION = 64
"""Samples to calibrate on, at most."""


@dataclass
class Written:
    """One package."""

    model: str
    variant: str
    target: str
    unit: str = ""
    error: str = ""
    weights: int = 0
    package: int = 0
    """Bytes."""
    encodings: dict[str, int] = field(default_factory=dict)
    """How many constants are stored in which form."""
    reference: float = 0.0
    """What the float model is worth in onnxruntime on the same samples."""
    value: float = 0.0
    peer: int | None = None
    """Bytes of the package that coremltools' compression makes; None where it has no such thing."""

    @property
    def lost(self) -> float:
        """Of what the float model in onnxruntime is worth."""
        return self.reference - self.value


class Maker:
    """The graphs of one model, each made once."""

    def __init__(self, task: Task, folder: Path) -> None:
        self.task, self.folder = task, folder
        self._made: dict[tuple[str, ...], ir.Graph] = {}

    def graph(self, variant: str) -> ir.Graph:
        """What the passes of a variant give."""
        return self._after((self.task.before + LOSSLESS, *VARIANTS[variant]))

    def _after(self, steps: tuple[str, ...]) -> ir.Graph:
        if steps not in self._made:
            source: Any = self._after(steps[:-1]) if steps[1:] else self.task.find_model()
            tick(f"{self.task.name}: {steps[-1]}")
            options: dict[str, Any] = {"target": "coreml", "verify": False, "provenance": False}
            self._made[steps] = onnxopt.run(source, steps[-1], data=self.calibration, **options).graph
        return self._made[steps]

    @cached_property
    def calibration(self) -> Path:
        """The first samples of the calibration data."""
        path = self.folder / f"{self.task.name}.npz"
        with np.load(self.task.find_calibration()) as stored:
            np.savez(path, **{name: stored[name][:CALIBRATION] for name in stored})
        return path

    def interface(self) -> Any:
        """One sample at a time, where the model leaves that open."""
        from onnxopt.backends.coreml.interface import Interface, Sizes

        shapes = {}
        with np.load(self.calibration) as stored:
            for tensor in self.graph("float32").inputs:
                given = stored[tensor.name][0].shape
                if not all(isinstance(dim, int) and dim > 0 for dim in tensor.shape):
                    shapes[tensor.name] = Sizes((given if len(given) == len(tensor.shape) else (1, *given),))
        return Interface(shapes=shapes)


def reference(task: Task) -> Run:
    """The float model in onnxruntime."""
    session = onnxruntime.InferenceSession(str(task.find_model()))
    names = [each.name for each in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, dict(feeds)), strict=True))


def packages(maker: Maker, variants: list[str], targets: list[str], count: int | None) -> Iterator[Written]:
    """Every form that is asked for, written, reloaded and judged, on `count` samples or all."""
    task = maker.task
    worth = task.worth(reference(task), count)
    for variant in variants:
        for target in targets:
            if variant == "float32" and target != targets[0]:
                continue  # the same bytes
            graph = maker.graph(variant)
            found = Written(task.name, variant, target, task.unit, reference=worth)
            path = maker.folder / f"{task.name}-{variant.replace(' ', '')}-{target}.mlpackage"
            tick(f"{task.name}, {variant}, {target}: writing and evaluating")
            run = write(found, graph, path, maker.interface())
            if run is not None:
                found.value = task.worth(run, count)
                found.peer = _peer(found, path)
            yield found


def write(found: Written, graph: ir.Graph, path: Path, interface: Any) -> Run | None:
    """Write a package as the backend does, and read it back; None where it is refused."""
    from onnxopt.backends.coreml.compiling import Asked, compile_model

    model = path.with_suffix(".onnx")
    ir.save(graph, model)
    asked = Asked(found.target, "float32" if found.variant == "float32" else "float16", interface)
    with contextlib.redirect_stderr(io.StringIO()):
        compiled = compile_model(model, asked, path)
    if compiled.problems:
        found.error = "; ".join(f"{each.node}: {each.reason}" for each in compiled.problems[:3])
        return None
    found.encodings = compiled.encodings
    found.weights, found.package = size(path / "Data", "weight.bin"), size(path)
    return reloaded(path, model, compiled.names)


def reloaded(path: Path, model: Path, names: dict[str, str]) -> Run:
    """A package as it is on the disk, by the names of the ONNX model that it was made of."""
    from onnxopt.backends.coreml.evaluator import load
    from onnxopt.backends.coreml.translating import Translation
    from onnxopt.data import outputs_of
    from onnxopt.runtime.executable import header_of

    evaluator, translation = load(path), Translation(names)
    takes = {feature.name: len(feature.shape) for feature in evaluator.inputs}
    outputs = outputs_of(header_of(model))

    def run(feeds: Arrays) -> dict[str, Array]:
        return translation.from_package(evaluator.run(translation.to_package(feeds, takes)), outputs)

    return run


def size(path: Path, pattern: str = "*") -> int:
    """Bytes of the files in a folder."""
    return sum(each.stat().st_size for each in path.rglob(pattern) if each.is_file())


def _peer(found: Written, path: Path) -> int | None:
    """What coremltools makes of our float16 package; None where it has no such thing, or that one is missing."""
    compress = _compressing(found.variant)
    plain = path.with_name(f"{found.model}-float16-{found.target}.mlpackage")
    if compress is None or not plain.is_dir():
        return None
    import coremltools as ct

    target = path.with_suffix(".peer.mlpackage")
    with contextlib.redirect_stderr(io.StringIO()):
        compress(ct.models.MLModel(str(plain), skip_model_load=True)).save(str(target))
    return size(target)


def _compressing(variant: str) -> Callable[[Any], Any] | None:
    import coremltools.optimize.coreml as cto

    def whole(compress: Any, config: Any) -> Callable[[Any], Any]:
        return lambda model: compress(model, cto.OptimizationConfig(global_config=config))

    if variant == "int8 weights":
        return whole(cto.linear_quantize_weights, cto.OpLinearQuantizerConfig(mode="linear_symmetric"))
    if variant in ("30 % zeros", "75 % zeros"):
        share = int(variant[:2]) / 100
        return whole(cto.prune_weights, cto.OpMagnitudePrunerConfig(target_sparsity=share))
    if variant == "4-bit palette":
        return whole(cto.palettize_weights, cto.OpPalettizerConfig(mode="uniform", nbits=4))
    return None
