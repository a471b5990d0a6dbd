"""What was measured, as a run of MLflow: parameters, metrics stage by stage, files."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt import strict_json
from onnxopt.errors import BadOption, OnnxoptError

if TYPE_CHECKING:
    from onnxopt.pipeline.benchmark import Benchmark

EXPERIMENT = "onnxopt"
"""The experiment, where MLFLOW_EXPERIMENT_NAME names none."""
_PATIENCE = 5.0
"""Seconds for a server to say that it is there."""
_LONGEST = 6000
"""Characters of a parameter's value, as MLflow's stores take."""
_NAME = re.compile(r"[^\w\-. /]")
"""What MLflow refuses in a name."""


class Unreachable(OnnxoptError):
    """MLflow's server does not answer, or refuses what it is sent."""


@dataclass(frozen=True)
class Record:
    """One run."""

    name: str
    parameters: Mapping[str, str]
    stages: Sequence[tuple[str, Mapping[str, float]]]
    """In order: the step of a metric is its stage's place, and the parameter `stage.N` has its name."""
    report: Mapping[str, Any]
    """The whole document, which becomes `report.json`."""
    files: Sequence[Path] = field(default_factory=tuple)
    """Files and folders: models, artifacts, plots."""


def require_mlflow() -> None:
    """Refuse to log where nothing logs.

    Raises:
        BadOption: mlflow is not installed.
    """
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise BadOption('--mlflow needs mlflow, which is not installed: pip install "onnxopt[mlflow]"') from error


def send(uri: str, record: Record) -> str:
    """Log a run, and tell where it is: `experiment/run`.

    Args:
        uri: As MLFLOW_TRACKING_URI: `http://...`, `sqlite:///...`, a folder.
        record: What to log.

    Raises:
        Unreachable: The server does not answer, or refuses something.
    """
    _require_answer(uri)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default takes minutes to give up
    try:
        with contextlib.redirect_stdout(sys.stderr):  # its client prints links, and stdout is for results
            return _logged(uri, record)
    except Exception as error:  # whatever its client, its store or the network raises
        said = " ".join(str(error).split()) or type(error).__name__
        raise Unreachable(f"MLflow at {uri} did not take the run: {said[:300]}") from error


def metrics_of(found: Benchmark) -> list[tuple[str, dict[str, float]]]:
    """For each model or artifact: bytes, and what was measured of it, for the first batch."""
    batch = found.batches[0]
    places = found.latencies(batch)
    stages = []
    for place, each in enumerate(found.figures):
        told: dict[str, float] = {"size_bytes": each.bytes}
        if each.memory is not None:
            told["peak_memory_bytes"] = each.memory.peak
        if place in places:
            timed = batch.found.timed[places[place]]
            told |= {"latency_mean_ms": timed.mean * 1e3, "samples_per_second": batch.size / timed.mean}
            told |= {f"latency_p{percent}_ms": timed.percentile(percent) * 1e3 for percent in (50, 90, 99)}
        if each.accuracy is not None:
            told[each.accuracy.metric.name] = each.accuracy.model
        stages.append((each.entry.name, told))
    return stages


def _require_answer(uri: str) -> None:
    """Ask a server whether it is there, before its client asks for minutes.

    Raises:
        Unreachable: It is not.
    """
    if not uri.startswith(("http://", "https://")):
        return
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_PATIENCE).close()
    except urllib.error.HTTPError:  # it answers; what it has against us its client will hear
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"MLflow at {uri} cannot be reached: {' '.join(str(reason).split())}") from error


def _logged(uri: str, record: Record) -> str:
    """Log the run whole, or marked as failed."""
    from mlflow.tracking import MlflowClient

    client: Any = MlflowClient(uri)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    known = client.get_experiment_by_name(name)
    experiment = known.experiment_id if known else client.create_experiment(name)
    run = client.create_run(experiment, run_name=record.name).info.run_id
    try:
        _fill(client, run, record)
    except BaseException:
        client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run)
    return f"{name}/{run}"


def _fill(client: Any, run: str, record: Record) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    parameters = dict(record.parameters) | {f"stage.{step}": name for step, (name, _) in enumerate(record.stages)}
    metrics = [
        Metric(_NAME.sub("_", key), float(value), now, step)
        for step, (_, told) in enumerate(record.stages)
        for key, value in told.items()
        if math.isfinite(value)
    ]
    client.log_batch(run, metrics, [Param(_NAME.sub("_", k), v[:_LONGEST]) for k, v in parameters.items()])
    with tempfile.TemporaryDirectory(prefix="onnxopt-") as folder:
        report = Path(folder) / "report.json"
        report.write_text(strict_json.dumps(record.report) + "\n")
        client.log_artifact(run, str(report))
    for path in record.files:
        if path.is_dir():
            client.log_artifacts(run, str(path), path.name)
        else:
            client.log_artifact(run, str(path))
