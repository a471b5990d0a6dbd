"""An engine on the GPU of this machine, in child processes: judged beside an ONNX model, and measured."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from onnxopt.backends.tensorrt.flavor import ENTERPRISE, RTX
from onnxopt.backends.tensorrt.measuring import Settings, measure
from onnxopt.backends.tensorrt.running import EnginePort, load
from onnxopt.backends.tensorrt.writing import NOT_MEASURED, require_same
from onnxopt.data import DataSet, Feeds, ValueSpec
from onnxopt.data.scoring import Metric
from onnxopt.data.spec import Array
from onnxopt.errors import BadModel, BadOption
from onnxopt.pipeline.sidecar import read_sidecar
from onnxopt.runtime.ahead import Ahead
from onnxopt.runtime.child import run_in_child
from onnxopt.runtime.evaluation import Accuracy, Subject
from onnxopt.runtime.evaluation import evaluate as judge
from onnxopt.runtime.latency import Timed

_HERE = "onnxopt.backends.tensorrt.evaluating"
_PROBE = "onnxopt.backends.tensorrt.vendor:probe"
_START = 300.0
"""Seconds that a child may take to load an engine: RTX compiles it for the GPU as it is loaded."""
_BATCH = 10.0
"""Seconds that a batch may take besides."""


def evaluate(
    artifact: Path, reference: Path, data: DataSet, metric: Metric, report: Callable[[str, int, int], None]
) -> Accuracy:
    """As `Backend.evaluate`.

    Raises:
        BadOption: There is no GPU here, or no cuda-python.
        BadModel: TensorRT does not load the engine.
        OnnxoptError: TensorRT crashed, or took too long.
    """
    module = require_gpu(artifact)
    ports: tuple[EnginePort, ...] = run_in_child(f"{_HERE}:ports_of", artifact, module, timeout=_START)
    inputs = [_spec(port) for port in ports if port.is_input]
    if batch := _fixed_batch(inputs, data):
        data = replace(data, layout=replace(data.layout, batch=batch))
    engine = Ahead(str(artifact), inputs, data, partial(_ran, artifact, module))
    return judge(Subject(str(reference), reference), engine, data, metric, report)


def latency(artifact: Path, feeds: Mapping[str, Array], settings: Settings | None = None) -> Timed:
    """What runs of an engine take on the GPU of this machine, one after the other.

    Args:
        artifact: As `write` wrote it.
        feeds: What to run it on.
        settings: How to measure.

    Raises:
        OnnxoptError: As `evaluate`; an input does not fit.
    """
    module, wanted = require_gpu(artifact), settings or Settings()
    seconds = _START + 2 * (wanted.warm_up + wanted.seconds) + _BATCH * wanted.runs
    found: Timed = run_in_child(f"{_HERE}:measured", artifact, module, dict(feeds), wanted, timeout=seconds)
    return found


def require_gpu(artifact: Path) -> str:
    """The module of the bindings that run an engine, where there is a GPU for it to run on.

    Raises:
        BadModel: The artifact is not there, has no sidecar, or was changed since.
        BadOption: There is no GPU, or TensorRT is not installed.
    """
    if not artifact.is_file():
        raise BadModel(f"{artifact} is not there")
    facts = read_sidecar(artifact)
    require_same(artifact, facts)
    flavor = ENTERPRISE if facts is not None and facts["flavor"] == ENTERPRISE.name else RTX
    version, gpus = _probed(flavor.module)
    if not version:
        raise BadOption(f"{artifact} needs the package {flavor.module} to run, which is not installed, or is empty")
    if not gpus:
        raise BadOption(
            f"{artifact}: {NOT_MEASURED}: TensorRT runs an engine on an NVIDIA GPU only, and nothing stands for one; "
            "verify it where there is one, or verify the ONNX model that it was built of"
        )
    return flavor.module


@functools.cache
def _probed(module: str) -> tuple[str, int]:
    """The version of the bindings, empty where they are not there, and how many GPUs there are."""
    found: tuple[str, int] = run_in_child(_PROBE, module, timeout=_START)
    return found


def ports_of(engine: Path, module: str) -> tuple[EnginePort, ...]:
    """For the child: the inputs and outputs of an engine."""
    return load(engine, module).ports


def ran(engine: Path, module: str, feeds: Sequence[Feeds]) -> list[Feeds]:
    """For the child: the outputs for some batches."""
    running = load(engine, module)
    return [running.run(fed) for fed in feeds]


def measured(engine: Path, module: str, feeds: Feeds, settings: Settings) -> Timed:
    """For the child: what a run takes."""
    return measure(load(engine, module), feeds, settings)


def _ran(engine: Path, module: str, feeds: list[Feeds]) -> Sequence[Feeds]:
    found: list[Feeds] = run_in_child(f"{_HERE}:ran", engine, module, feeds, timeout=_START + _BATCH * len(feeds))
    return found


def _fixed_batch(inputs: Sequence[ValueSpec], data: DataSet) -> int | None:
    """Samples that the engine takes at a time; None where it is open, or samples are fed as they are."""
    stacked = [spec.shape[0] for spec in inputs if spec.name not in data.layout.whole and spec.shape]
    return stacked[0] if stacked and isinstance(stacked[0], int) else None


def _spec(port: EnginePort) -> ValueSpec:
    return ValueSpec(port.name, dtype=port.dtype, shape=tuple(None if dim < 0 else dim for dim in port.shape))
