"""One optimizer on one model: its run in a process of its own, what it made of the model, and what is kept of that.

What a peer made is kept in $ONNXOPT_CACHE/optimized (by default ~/.cache/onnxopt/optimized) under the peer's version
and the model's hash, with what was found out about it: only ours is done again. That folder may be deleted.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx
from measuring import run_measured
from onnx import FunctionProto, GraphProto, ModelProto, TensorProto
from optimize_one import PEERS

OURS, ORIGINAL = "onnxopt", "original"
STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})


@dataclass
class Outcome:
    """What is known about what one optimizer made of one model."""

    tool: str
    model: str
    folder: Path
    error: str = ""
    """Why there is no model: it crashed, it took too long."""
    nodes: int = 0
    """In the graph, its subgraphs and the local functions."""
    weight_bytes: int = 0
    file_bytes: int = 0
    """With the weights outside the file."""
    foreign: list[str] = field(default_factory=list)
    """Domains that are neither ONNX's nor the original's: such a model runs in one engine only."""
    seconds: float = math.nan
    """Load, optimization and save, without imports."""
    cpu_seconds: float = math.nan
    """Processor time of that work, of all threads; waiting for the disk does not count."""
    process_seconds: float = math.nan
    peak_bytes: int = 0
    timed: int = 0
    """Rounds that the medians above are of; 0 where they are of the run that made the model."""
    problems: list[str] | None = None
    """Why it is not correct; none where it is; None where that was not looked at."""
    checked_at: str = ""
    """The hash of the check, and the sizes at which it was made."""
    fusions: dict[str, int] | None = None
    """Nodes by operator that onnxruntime made of it by fusing; None where that was not looked at."""

    @property
    def path(self) -> Path:
        """The optimized model."""
        return self.folder / "out.onnx"

    @property
    def is_right(self) -> bool:
        """Whether there is a model, and nothing that was looked at is wrong with it."""
        return not self.error and not self.problems

    @property
    def counts(self) -> bool:
        """Whether it is portable and correct, so that ours is measured by it."""
        return self.is_right and not self.foreign

    def save(self) -> None:
        """Keep it beside the model."""
        found = {key: value for key, value in asdict(self).items() if key != "folder"}
        (self.folder / "outcome.json").write_text(json.dumps(found, indent=1))


def versions(tools: list[str]) -> dict[str, str]:
    """Of the peers that are installed, in the order given."""
    found = {}
    for tool in tools:
        try:
            found[tool] = importlib.metadata.version(tool)
        except importlib.metadata.PackageNotFoundError:  # noqa: PERF203
            sys.stderr.write(f"{tool} is not installed: pip install 'onnxopt[bench]'\n")
    return found


def peers() -> list[str]:
    """The peers, whether installed or not."""
    return list(PEERS)


def kept(tool: str, version: str, model: str, path: Path, cache: Path) -> Outcome | None:
    """What an earlier run of a peer found; None where there was none."""
    folder = _place(tool, version, model, path, cache)
    try:
        return Outcome(folder=folder, **json.loads((folder / "outcome.json").read_text()))
    except (FileNotFoundError, TypeError):  # none, or one of an older make
        return None


def run(tool: str, version: str, model: str, path: Path, cache: Path, limit: float, pipeline: str = "") -> Outcome:
    """Run it, and look at what it wrote."""
    outcome = Outcome(tool, model, _place(tool, version, model, path, cache))
    shutil.rmtree(outcome.folder, ignore_errors=True)
    outcome.folder.mkdir(parents=True)
    script = Path(__file__).with_name("optimize_one.py")
    command = [sys.executable, script, tool, path, outcome.path, *([pipeline] if tool == OURS else [])]
    try:
        finished = run_measured(command, cwd=outcome.folder, timeout=limit)
    except subprocess.TimeoutExpired:
        outcome.error = f"took over {limit:g} s"
    else:
        outcome.process_seconds, outcome.peak_bytes = finished.seconds, finished.peak_rss
        said = [line for line in finished.stdout.splitlines() if line.startswith('{"seconds"')]
        if finished.returncode != 0 or not said:
            outcome.error = _last_words(finished.returncode, finished.stderr)
        else:
            found = json.loads(said[-1])
            outcome.seconds, outcome.cpu_seconds = found["seconds"], found["cpu"]
            _look_at(outcome, path)
    if outcome.error:
        outcome.path.unlink(missing_ok=True)
    outcome.save()
    return outcome


def forget(outcome: Outcome) -> None:
    """Remove what it wrote."""
    shutil.rmtree(outcome.folder, ignore_errors=True)


def original(model: str, path: Path, cache: Path) -> Outcome:
    """The model as it is, in the same terms."""
    outcome = Outcome(ORIGINAL, model, cache)
    loaded = onnx.load(path, load_external_data=False)
    outcome.nodes, outcome.weight_bytes = sum(1 for _ in _nodes(loaded)), _weight_bytes(loaded)
    beside = [file for file in (path, path.with_suffix(".data")) if file.exists()]
    outcome.file_bytes = sum(file.stat().st_size for file in beside)
    outcome.problems = []
    return outcome


@functools.cache
def digest(path: Path) -> str:
    """Of the file; data outside it is told by its beginning and size."""
    found = hashlib.sha256(path.read_bytes())
    data = path.with_suffix(".data")
    if data.exists():
        with data.open("rb") as file:
            found.update(file.read(1 << 20) + str(data.stat().st_size).encode())
    return found.hexdigest()[:12]


def _place(tool: str, version: str, model: str, path: Path, cache: Path) -> Path:
    return cache / (f"{tool}-{version}" if version else tool) / f"{model}-{digest(path)}"


def _last_words(code: int, stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["no word"]
    told = lines[-1] if code >= 0 else f"signal {-code}: {lines[-1]}"
    return f"crashed: {told[:200]}"


def _look_at(outcome: Outcome, original: Path) -> None:
    try:
        made = onnx.load(outcome.path, load_external_data=False)
    except Exception as error:  # noqa: BLE001  a peer's file may be anything
        outcome.error = f"wrote no model: {type(error).__name__}: {str(error)[:150]}"
        return
    outcome.nodes, outcome.weight_bytes = sum(1 for _ in _nodes(made)), _weight_bytes(made)
    outcome.file_bytes = sum(file.stat().st_size for file in outcome.folder.iterdir())
    known = {node.domain for node in _nodes(onnx.load(original, load_external_data=False))}
    outcome.foreign = sorted({node.domain for node in _nodes(made)} - known - STANDARD)


def _nodes(model: ModelProto) -> Iterator[onnx.NodeProto]:
    scopes: list[GraphProto | FunctionProto] = [model.graph, *model.functions]
    while scopes:
        for node in scopes.pop().node:
            yield node
            for attribute in node.attribute:
                scopes += [*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs]


def _weight_bytes(model: ModelProto) -> int:
    graphs = [model.graph, *(a.g for node in _nodes(model) for a in node.attribute if a.HasField("g"))]
    tensors = [tensor for graph in graphs for tensor in graph.initializer]
    tensors += [attribute.t for node in _nodes(model) for attribute in node.attribute if attribute.HasField("t")]
    return sum(map(_bytes, tensors))


def _bytes(tensor: TensorProto) -> int:
    count = math.prod(tensor.dims)
    if tensor.data_type == TensorProto.STRING:
        return sum(map(len, tensor.string_data))
    if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4):
        return (count + 1) // 2
    return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """For files and programs; no path in it."""
    found = {key: value for key, value in asdict(outcome).items() if key != "folder"}
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in found.items()}
