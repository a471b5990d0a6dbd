"""An artifact on Qualcomm's emulator, judged beside an ONNX model in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from onnxopt.backends.qnn.htp import PREFIX, TIMEOUT, WRAPPER, run_context
from onnxopt.backends.qnn.wrapper import write_wrapper
from onnxopt.data import DataSet, Feeds, ValueSpec
from onnxopt.data.scoring import Metric
from onnxopt.errors import BadModel, CheckFailed
from onnxopt.pipeline.sidecar import read_sidecar, sidecar_path
from onnxopt.runtime.ahead import Ahead
from onnxopt.runtime.digest import sha256_of
from onnxopt.runtime.evaluation import Accuracy, Subject
from onnxopt.runtime.evaluation import evaluate as judge
from onnxopt.runtime.working_folder import working_folder

_PATIENCE = 60.0
"""Seconds that a batch may take, besides the usual time of a child."""
_BINARY = "context.bin"


def evaluate(
    artifact: Path, reference: Path, data: DataSet, metric: Metric, report: Callable[[str, int, int], None]
) -> Accuracy:
    """As `Backend.evaluate`."""
    facts, binary = _context_of(artifact)
    with working_folder(PREFIX) as place:
        write_wrapper(place / WRAPPER, facts["context_binary"], _BINARY)
        (place / _BINARY).symlink_to(binary.resolve())
        batch = _batch(facts["context_binary"]["inputs"], data)
        if batch != 1:
            data = replace(data, layout=replace(data.layout, batch=batch))
        inputs = [_spec(each) for each in facts["context_binary"]["inputs"]]
        run_all = partial(_emulated, place, str(artifact), int(facts["soc"]["id"]))
        emulated = Ahead(str(artifact), inputs, data, run_all)
        return judge(Subject(str(reference), reference), emulated, data, metric, report)


def _emulated(place: Path, name: str, soc: int, feeds: list[Feeds]) -> Sequence[Feeds]:
    """The outputs for some batches, of one child."""
    ran = run_context(place, soc, feeds, TIMEOUT + _PATIENCE * len(feeds))
    if not ran.ok:
        raise CheckFailed(f"{name}: {ran.why}")
    return ran.outputs


def _context_of(artifact: Path) -> tuple[dict[str, Any], Path]:
    """What the sidecar says, and the context binary: the artifact itself, or the one that was written beside a DLC."""
    facts = read_sidecar(artifact)
    if facts is None:
        raise BadModel(
            f"{artifact} has no sidecar {sidecar_path(artifact).name}, which tells its inputs and outputs; of a "
            "context binary that was written beside a DLC, name the DLC"
        )
    if not isinstance(facts.get("soc"), dict) or "sha256" not in facts:
        raise BadModel(f"{sidecar_path(artifact)} is no sidecar of a DLC or a context binary")
    _require_same(artifact, facts["sha256"])
    known = facts.get("context_binary")
    if known is None:
        raise BadModel(
            f"{artifact}: no engine here runs a DLC by itself, and no context binary was written beside it: emit it "
            "with context-binary=PATH"
        )
    binary = artifact.parent / known["file"]
    if not binary.is_file():
        raise BadModel(f"{artifact}: its context binary {binary} is not there")
    _require_same(binary, known["sha256"])
    return facts, binary


def _require_same(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise BadModel(f"{path} is not there")
    if sha256_of(path) != sha256:
        raise BadModel(f"{path} is not what its sidecar was written of: emit it again")


def _batch(inputs: Sequence[dict[str, Any]], data: DataSet) -> int:
    """Samples that the artifact takes at a time."""
    stacked = [each["shape"][0] for each in inputs if each["name"] not in data.layout.whole and each["shape"]]
    return int(stacked[0]) if stacked else 1


def _spec(facts: dict[str, Any]) -> ValueSpec:
    return ValueSpec(facts["name"], dtype=np.dtype(facts["dtype"]), shape=tuple(facts["shape"]))
