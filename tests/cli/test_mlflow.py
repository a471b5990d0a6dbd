"""`--mlflow`: a run of MLflow, read back through MLflow's own client from a real server on loopback."""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command

_PATIENCE = 240.0
"""Seconds; a server takes about ten of a processor to come up."""
PASSES = "fold-constants,eliminate-dead-nodes"


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """A server with a SQLite store, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    stores = [
        "--backend-store-uri",
        f"sqlite:///{folder}/store.db",
        "--artifacts-destination",
        str(folder / "files"),
        "--workers",
        "1",
    ]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), *stores],
            env={**os.environ, **settings}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        until = time.monotonic() + _PATIENCE
        while True:
            assert process.poll() is None and time.monotonic() < until, (folder / "log.txt").read_text()[-2000:]
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_runs_are_read_back(onnxopt: Command, model: Path, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setattr("onnxopt.runtime.side_by_side._ROUNDS", 5)
    Path("server").mkdir()
    with server(Path("server").absolute()) as uri:
        options = ("--passes", PASSES, "--stages", "--plot", "stages.png", "-o", "out.onnx", "--mlflow", uri)
        ended = onnxopt("run", model, *options)
        assert ended.code == 0 and f"logged to MLflow at {uri} as onnxopt/" in ended.err
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        ended = onnxopt("bench", model, "out.onnx", "--data", samples, "--metric", "snr", "--threads", "1", "--json")
        assert ended.code == 0 and f"logged to MLflow at {uri} as onnxopt/" in ended.err
        measured = ended.json()

        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("onnxopt")
        bench, run = client.search_runs([experiment.experiment_id])  # the newest first
        assert (run.info.status, bench.info.status) == ("FINISHED", "FINISHED")
        assert run.data.params["pipeline"] == PASSES and run.data.params["model"] == str(model)
        stages = ["input", "fold-constants", "eliminate-dead-nodes"]
        assert [run.data.params[f"stage.{step}"] for step in range(3)] == stages
        history = client.get_metric_history(run.info.run_id, "size_bytes")
        assert [each.step for each in history] == [0, 1, 2] and history[0].value > 100
        assert all(each.value > 0 for each in client.get_metric_history(run.info.run_id, "latency_p50_ms"))
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert files == {"report.json", "out.onnx", "stages.png"}
        kept = Path(client.download_artifacts(run.info.run_id, "out.onnx", str(Path("server").absolute())))
        assert kept.read_bytes() == Path("out.onnx").read_bytes()

        told = Path(client.download_artifacts(bench.info.run_id, "report.json", str(Path("server").absolute())))
        assert json.loads(told.read_text()) == measured
        assert bench.data.metrics["size_bytes"] == Path("out.onnx").stat().st_size  # of the last step


def test_a_server_that_is_not_there_costs_no_result(
    onnxopt: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    uri = "http://127.0.0.1:9"  # the port that discards: nobody listens
    command = ("run", model, "--passes", PASSES, "-o", "out.onnx")
    ended = onnxopt(*command, "--mlflow", uri)
    assert ended.code == 2 and Path("out.onnx").stat().st_size and "largest output difference" in ended.err
    (line,) = [line for line in ended.err.splitlines() if line.startswith("onnxopt: ")]
    assert line.startswith(f"onnxopt: MLflow at {uri} cannot be reached: ")
    assert line.endswith("; the results are printed, and what was to be written is written")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # which other programs may be meant by
    ended = onnxopt(*command)
    assert ended.code == 0
    assert f"warning: MLFLOW_TRACKING_URI is set, and nothing was logged: MLflow at {uri} cannot" in ended.err


def test_without_mlflow_it_says_what_to_install(onnxopt: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "mlflow":
            raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow")
        return before(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    ended = onnxopt("run", model, "--passes", PASSES, "-o", "out.onnx", "--mlflow", "http://127.0.0.1:9")
    assert (ended.code, ended.out) == (2, "") and not Path("out.onnx").exists()
    assert ended.err == 'onnxopt: --mlflow needs mlflow, which is not installed: pip install "onnxopt[mlflow]"\n'
