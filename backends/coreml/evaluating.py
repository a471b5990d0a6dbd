"""A package evaluated beside onnxruntime: before it is written, and when somebody wants to know later.

`shapes_of`, `run_package` and `compile_and_run` run in the child process: coremltools is slow to import, and prints.
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt.backends.coreml.compiling import Asked, Compiled, compile_model
from onnxopt.backends.coreml.translating import Translation
from onnxopt.data import DataSet, Feeds, ValueSpec, inputs_of, outputs_of
from onnxopt.data.scoring import Metric
from onnxopt.errors import BadModel, CheckFailed
from onnxopt.pipeline.sidecar import read_sidecar
from onnxopt.runtime.ahead import Ahead
from onnxopt.runtime.child import run_in_child
from onnxopt.runtime.evaluation import Accuracy, Subject
from onnxopt.runtime.evaluation import evaluate as judge
from onnxopt.runtime.executable import header_of
from onnxopt.runtime.trial import Trial

if TYPE_CHECKING:
    from onnxopt.backends.coreml.evaluator import Evaluator

Shape = tuple[int | None, ...]
"""None where a dimension is flexible."""
_RUN, _SHAPES = (f"onnxopt.backends.coreml.evaluating:{name}" for name in ("run_package", "shapes_of"))
_TIMEOUT = 3600.0
"""Seconds that one child may take."""


def evaluate(
    artifact: Path, reference: Path, data: DataSet, metric: Metric, report: Callable[[str, int, int], None]
) -> Accuracy:
    """As `Backend.evaluate`."""
    translation = Translation.of_sidecar(read_sidecar(artifact) or {})
    header = header_of(reference)
    outputs = outputs_of(header)

    def run_all(feeds: list[Feeds]) -> Sequence[Feeds]:
        found: list[Feeds] = run_in_child(_RUN, artifact, translation, feeds, outputs, timeout=_TIMEOUT)
        return found

    takes = run_in_child(_SHAPES, artifact, timeout=_TIMEOUT)
    inputs = inputs_of(header)
    batch = _batch([takes.get(translation.name(spec.name)) for spec in inputs if spec.name not in data.layout.whole])
    if batch != 1:
        data = replace(data, layout=replace(data.layout, batch=batch))
    evaluated = Ahead(str(artifact), inputs, data, run_all)
    return judge(Subject(str(reference), reference), evaluated, data, metric, report)


def _batch(shapes: Sequence[Shape | None]) -> int:
    """Samples that a package takes at a time."""
    return next((shape[0] for shape in shapes if shape and shape[0] is not None), 1)


def shapes_of(package: Path) -> dict[str, Shape]:
    """The shapes of a package's inputs, by its names.

    Raises:
        BadModel: It is no package, or is damaged.
    """
    return {feature.name: feature.shape for feature in _loaded(package).inputs}


def run_package(
    package: Path, translation: Translation, feeds: list[Feeds], outputs: Sequence[ValueSpec]
) -> list[Feeds]:
    """What a package gives for each of some feeds of the ONNX model, in its names and element types.

    Raises:
        BadModel: It is no package, is damaged, or its inputs or outputs are others.
        CheckFailed: An operation cannot be evaluated here.
    """
    evaluator = _loaded(package)
    takes = {feature.name: len(feature.shape) for feature in evaluator.inputs}
    known = {translation.name(name) for fed in feeds[:1] for name in fed}
    if unknown := [name for name in takes if feeds and name not in known]:
        raise BadModel(f"{package} takes '{unknown[0]}', which the ONNX model has not")
    found = []
    for fed in feeds:
        evaluator.reset()
        given = translation.from_package(evaluator.run(translation.to_package(fed, takes)), outputs)
        if missing := [spec.name for spec in outputs if spec.name not in given]:
            there = ", ".join(feature.name for feature in evaluator.outputs)
            raise BadModel(f"{package} gives no '{translation.name(missing[0])}', but {there}")
        found.append(given)
    return found


def _loaded(package: Path) -> Evaluator:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from onnxopt.backends.coreml.evaluator import load

    return load(package)


def compile_and_run(
    model: Path, asked: Asked, package: Path, feeds: list[Feeds], outputs: Sequence[ValueSpec]
) -> tuple[Compiled, list[Feeds]]:
    """Write a package as `compile_model` does, and run what is on the disk then; nothing where it is refused.

    Raises:
        OnnxoptError: As `compile_model` and `run_package` do.
    """
    compiled = compile_model(model, asked, package)
    if compiled.problems or not feeds:
        return compiled, []
    translation = Translation.of_sidecar({"names": compiled.names, "interface": dataclasses.asdict(asked.interface)})
    return compiled, run_package(package, translation, feeds, outputs)


def compare(trial: Trial, outputs: Sequence[Feeds], min_snr: float, path: Path) -> tuple[dict[str, Any], str]:
    """Judge what a package gave beside onnxruntime.

    Returns:
        What the sidecar says of it, and what people shall hear.

    Raises:
        CheckFailed: An output is farther off than `min_snr`, dB.
    """
    unverified = ["anything on a device: latency, placement, memory, and what its Core ML computes"]
    if not trial.feeds:
        unverified.append("outputs: samples=0 was given, and nothing ran")
        note = f"{path.name} was written, and never evaluated: samples=0 was given"
        return {"verified_against_mil_semantics": None, "not_verified_on_device": unverified}, note
    agreement = trial.compared(outputs)
    if fault := trial.fault(agreement, min_snr, "evaluated by MIL's semantics"):
        raise CheckFailed(f"{path}: {fault}; nothing was written")
    facts = {"verified_against_mil_semantics": trial.facts(agreement, min_snr), "not_verified_on_device": unverified}
    worst = trial.worst(agreement) if agreement else "every output is random: nothing was compared"
    return facts, f"{path.name} verified against MIL semantics, {worst}; it ran on no device"
