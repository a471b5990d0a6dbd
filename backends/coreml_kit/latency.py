"""What the programs of a kit measured: `latency.json`.

    {"kind": "latency", "schema": 1, "engine": "Core ML",
     "package": {"name": "model.mlpackage", "hash": "..."},
     "device": {"model": "Mac15,3", "system": "macOS 26.0"},
     "runs": [{"units": "all", "load_seconds": 0.8, "first_milliseconds": 9.1,
               "iterations": 200, "milliseconds": {"median": 0.91, "p90": 0.97, "least": 0.88}},
              {"units": "cpu-and-gpu", "error": "..."}]}

`package.hash` is that of the package's own files (`onnxopt.backends.coreml.folder.digest`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxopt.errors import BadModel

NAME = "latency.json"
UNITS = ("all", "cpu-and-neural-engine", "cpu-and-gpu", "cpu-only")
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Run:
    """One choice of compute units."""

    units: str
    median: float | None = None
    """Milliseconds of one prediction; None where it could not be measured."""
    p90: float | None = None
    load: float | None = None
    """Seconds to load it, the first time: Core ML compiles for the units then."""
    error: str = ""
    """Why it could not be measured."""


@dataclass(frozen=True)
class Latency:
    """All of them, on one device."""

    device: str
    system: str
    runs: tuple[Run, ...]


def read_latency(path: Path, package: str | None = None) -> Latency:
    """Read what was measured.

    Args:
        path: `latency.json`.
        package: The hash of the package that it has to be of; None for any.

    Raises:
        BadModel: It cannot be read, is not of this form, or is of another package.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["kind"] != "latency" or told["schema"] != 1:
            raise ValueError("it is of another kind")
        measured = str(told["package"]["hash"])
        device = told["device"]
        found = Latency(str(device["model"]), str(device["system"]), tuple(map(_run, told["runs"])))
    except OSError as error:
        raise BadModel(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadModel(f"{path} is no latency that a kit measured: {error}") from error
    if package is not None and measured != package:
        raise BadModel(f"{path} was measured of another package; run measure.py again")
    return found


def _run(told: dict[str, Any]) -> Run:
    if told.get("error"):
        return Run(str(told["units"]), error=str(told["error"]))
    times = told["milliseconds"]
    return Run(str(told["units"]), float(times["median"]), float(times["p90"]), float(told["load_seconds"]))


def lines(latency: Latency | None) -> dict[str, str]:
    """For people, by compute units: what was not measured is said to be so."""
    runs = {run.units: run for run in latency.runs} if latency is not None else {}
    return {units: _line(runs.get(units)) for units in dict.fromkeys([*UNITS, *runs])}


def _line(run: Run | None) -> str:
    if run is None:
        return NOT_MEASURED
    if run.median is None:
        return f"{NOT_MEASURED}: {run.error}"
    return f"{run.median:.3f} ms"
