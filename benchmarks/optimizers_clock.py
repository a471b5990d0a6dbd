"""The two phases that take a clock: how long optimizers take, and how long runs what they made."""

from __future__ import annotations

import math
from pathlib import Path

import optimizers_latency
import optimizers_runs as runs
from measuring import Spread, ratio, run_measured
from optimizers_phases import Measured
from optimizers_runs import ORIGINAL, OURS, Outcome
from reporting import tick
from zoo import Model

HEAVY, SYNTHETIC = "heavy", "synthetic_20001"
_SLOW = 20.0
"""Seconds. What takes longer is timed once: noise is small beside it."""


def time(measured: Measured, rounds: int) -> None:
    """Seconds and peak memory of every optimizer on every model, in turns; for the heavy one of a bare copy too."""
    for model in measured.models:
        path = model.find()
        outcomes = {found.tool: found for found in measured.of(model.name) if not found.error}
        again: dict[str, list[Outcome]] = {tool: [] for tool in outcomes}
        for number in range(rounds):
            if model.name == HEAVY:
                measured.copies.append(_copy(path.with_suffix(".data"), measured.scratch))
            for tool, outcome in outcomes.items():
                if number and again[tool] and again[tool][0].process_seconds > _SLOW and tool != OURS:
                    continue
                tick(f"{model.name}: round {number + 1} of {rounds}: {tool}")
                again[tool].append(_once(measured, outcome, path))
        for tool, found in again.items():
            outcome = outcomes[tool]
            outcome.seconds = _median([one.seconds for one in found])
            outcome.cpu_seconds = _median([one.cpu_seconds for one in found])
            outcome.process_seconds = _median([one.process_seconds for one in found])
            outcome.peak_bytes = max(one.peak_bytes for one in found)
            outcome.timed = len([one for one in found if not one.error])


def _once(measured: Measured, outcome: Outcome, path: Path) -> Outcome:
    version, place = measured.versions.get(outcome.tool, ""), measured.scratch / "timed"
    found = runs.run(outcome.tool, version, outcome.model, path, place, measured.limit, measured.pipeline)
    runs.forget(found)
    return found


def _median(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return Spread(tuple(known)).median if known else math.nan


def _copy(data: Path, folder: Path) -> float:
    """Seconds of cp: neither it nor we wait for the disk."""
    copy = folder / "copy.data"
    finished = run_measured(["cp", data, copy]).require_success()
    copy.unlink()
    return finished.seconds


def latency(measured: Measured, seconds: float) -> None:
    """Runs in onnxruntime of the original, of itself once more, and of all that is correct."""
    for model in measured.models:
        if model.timed is None:
            continue
        outcomes = {found.tool: found for found in measured.of(model.name) if found.is_right}
        paths = {ORIGINAL: model.find(), **{tool: found.path for tool, found in outcomes.items()}}
        for optimize in (True, False):
            tick(f"{model.name}: latency, onnxruntime's optimizations {'on' if optimize else 'off'}")
            _compare(measured, model, paths, optimize, seconds)


def _compare(measured: Measured, model: Model, paths: dict[str, Path], optimize: bool, seconds: float) -> None:
    found = optimizers_latency.compare(model, paths, optimize=optimize, seconds=seconds, limit=measured.limit)
    if isinstance(found, str):
        measured.notes.append(f"{model.name}: no latency, optimizations {'on' if optimize else 'off'}: {found}")
        return
    for tool, spread in found.items():
        measured.latency[tool, model.name, optimize] = ratio(spread, found[ORIGINAL])
    measured.latency[ORIGINAL, model.name, optimize] = found[ORIGINAL]
