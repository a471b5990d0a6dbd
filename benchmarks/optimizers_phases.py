"""What is measured of every optimizer on every model, a phase at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optimizers_runs as runs
from measuring import Spread, run_measured
from optimizers_runs import ORIGINAL, OURS, Outcome
from reporting import tick
from zoo import Model

_CHECK = Path(__file__).with_name("optimizers_check.py")


@dataclass
class Measured:
    """All that is known."""

    models: list[Model]
    versions: dict[str, str]
    """Of the peers."""
    with_ours: bool
    pipeline: str
    cache: Path
    """Where what peers made is kept."""
    scratch: Path
    """Where what ours makes is put."""
    limit: float
    """Seconds that a process may take."""
    again: bool = False
    """Whether to run peers that were run already."""
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    """By tool and model."""
    copies: list[float] = field(default_factory=list)
    """Seconds of a bare copy of the heavy model's weights."""
    latency: dict[tuple[str, str, bool], Spread] = field(default_factory=dict)
    """By tool, model, and whether onnxruntime's optimizations are on: how many times the original's, round by round.
    The original's own are seconds."""
    notes: list[str] = field(default_factory=list)
    """What could not be measured."""

    @property
    def tools(self) -> list[str]:
        """Ours first."""
        return [*([OURS] if self.with_ours else []), *self.versions]

    def of(self, model: str) -> list[Outcome]:
        """Ours and the peers' for a model."""
        return [self.outcomes[tool, model] for tool in self.tools if (tool, model) in self.outcomes]

    def nodes(self) -> None:
        """Run every optimizer on every model, peers only where they were not yet, and check those."""
        for model in self.models:
            path = model.find()
            self.outcomes[ORIGINAL, model.name] = runs.original(model.name, path, self.cache)
            for tool in self.tools:
                tick(f"{model.name}: {tool}")
                self.outcomes[tool, model.name] = self._ours(model) if tool == OURS else self._peer(tool, model)

    def check(self) -> None:
        """Check ours; peers are checked when they are run."""
        for outcome in self._each(ORIGINAL, OURS):
            tick(f"{outcome.model}: {outcome.tool} is checked")
            self._ask(outcome, "check")

    def fusions(self) -> None:
        """Let onnxruntime fuse what is left in the original and in ours; peers' were counted when they were run."""
        for outcome in self._each(ORIGINAL, OURS):
            tick(f"{outcome.model}: what onnxruntime fuses after {outcome.tool}")
            self._ask(outcome, "fusions")

    def _each(self, *tools: str) -> Iterator[Outcome]:
        found = [self.outcomes.get((tool, model.name)) for model in self.models for tool in tools]
        return (outcome for outcome in found if outcome is not None and not outcome.error)

    def _ours(self, model: Model) -> Outcome:
        return runs.run(OURS, "", model.name, model.find(), self.scratch, self.limit, self.pipeline)

    def _peer(self, tool: str, model: Model) -> Outcome:
        version, path = self.versions[tool], model.find()
        outcome = None if self.again else runs.kept(tool, version, model.name, path, self.cache)
        if outcome is None:
            outcome = runs.run(tool, version, model.name, path, self.cache, self.limit)
        if not outcome.error and (outcome.checked_at != _question(model) or outcome.fusions is None):
            self._ask(outcome, "check", "fusions")
            outcome.save()
        return outcome

    def _ask(self, outcome: Outcome, *what: str) -> None:
        """Let a process of its own look at a model; one that crashes is a finding too."""
        (model,) = (model for model in self.models if model.name == outcome.model)
        path = model.find() if outcome.tool == ORIGINAL else outcome.path
        for asked in what:
            try:
                finished = run_measured([sys.executable, _CHECK, model.name, path, asked], timeout=self.limit)
                said = finished.stdout.strip().splitlines() if finished.returncode == 0 else []
                reason = (finished.stderr.strip().splitlines() or ["no word"])[-1][:200]
            except subprocess.TimeoutExpired:
                said, reason = [], f"took over {self.limit:g} s"
            if asked == "check":
                outcome.checked_at = _question(model)
                outcome.problems = json.loads(said[-1])[asked] if said else [f"the check ended early: {reason}"]
            else:
                outcome.fusions = json.loads(said[-1])[asked] if said else {}


def _question(model: Model) -> str:
    """What a check asks; another question needs another check."""
    return f"{runs.digest(_CHECK)} {model.bindings}"


def as_json(measured: Measured) -> dict[str, Any]:
    """All figures, for files and programs."""
    found: dict[str, Any] = {}
    for (tool, model), outcome in measured.outcomes.items():
        found.setdefault(model, {})[tool] = runs.as_json(outcome)
    latency = [
        {"tool": tool, "model": model, "optimizations": on, **spread.to_json()}
        for (tool, model, on), spread in measured.latency.items()
    ]
    known = {"pipeline": measured.pipeline, "versions": measured.versions, "not_measured": measured.notes}
    return {**known, "models": found, "copies": measured.copies, "latency": latency}
