"""What the workflows are written with: onnxopt's commands, each shown and run, and the table that is left of them."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt.atomic import replacing
from onnxopt.pipeline.sidecar import artifact_bytes
from onnxopt.report.units import size
from onnxopt.runtime.latency import Call, interleaved, ratios

ROOT = Path(__file__).resolve().parent.parent
"""Commands run here, so that they can be copied."""

NOT_MEASURED = "not measured"
Array = npt.NDArray[Any]
Table = Sequence[Sequence[str]]
"""Its first row is the heading."""


@dataclass(frozen=True)
class Workflow:
    """One example, being run."""

    folder: Path
    """Where what it makes goes."""
    seconds: float
    """For each measurement of latency."""
    samples: int | None
    """Of each data set at most so many, for a quick look."""
    mlflow: str | None

    @classmethod
    def of(cls, script: str, doc: str | None) -> Workflow:
        """The one whose script this is, as its command line has it; its folder is made."""
        parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        name = Path(script).resolve().parent.name
        parser.add_argument("--out", type=Path, default=ROOT / "build" / "examples" / name, help="where its files go")
        parser.add_argument("--seconds", type=float, default=20.0, help="for each measurement of latency")
        parser.add_argument("--samples", type=int, help="of each data set at most so many, for a quick look")
        parser.add_argument("--mlflow", metavar="URI", help="log what is measured to this server, too")
        given = parser.parse_args()
        folder: Path = given.out.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(ROOT)
        return cls(Path(os.path.relpath(folder)), given.seconds, given.samples, given.mlflow)

    def few(self, data: Path) -> Path:
        """An .npz of the samples to be used: the file itself, or its first ones, in the folder."""
        if self.samples is None:
            return data
        with np.load(data) as arrays:
            return self.store(data.name, {name: array[: self.samples] for name, array in arrays.items()})

    def store(self, name: str, arrays: Mapping[str, Array]) -> Path:
        """Write an .npz into the folder."""
        path = self.folder / name
        np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy takes the names of its own flags for arrays'
        return path

    def run(self, *words: object) -> Any:
        """What a command of onnxopt's tells as JSON. Where it fails, that is the end."""
        arguments = [str(word) for word in words]
        print(f"$ onnxopt {shlex.join(arguments)}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "onnxopt", *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.returncode)
        return json.loads(done.stdout)

    @property
    def logged(self) -> tuple[str, ...]:
        """The words that log a command to MLflow, where that is asked for."""
        return ("--mlflow", self.mlflow) if self.mlflow else ()

    def bench(self, *words: object) -> Any:
        """`onnxopt bench` on one thread."""
        return self.run("bench", *words, "--threads", 1, "--seconds", f"{self.seconds:g}", *self.logged)

    def keep(self, figures: Mapping[str, Any], *tables: Table) -> None:
        """Print the tables, and leave them and all figures in the folder."""
        shown = "\n".join(map(markdown, tables))
        print(f"\n{shown}")
        for name, text in (("tables.md", shown), ("figures.json", json.dumps(figures, indent=1) + "\n")):
            with replacing(self.folder / name) as file:
                file.write(text.encode())


def shown_size(path: Path) -> str:
    """Bytes on disk, of a folder too."""
    return size(artifact_bytes(path))


def shown_accuracy(found: Mapping[str, Any]) -> str:
    """A metric with its unit, from what commands tell of one model."""
    return f"{found['model']:.2f} {found['unit']}".strip()


def latencies(calls: Mapping[str, Call], seconds: float, rounds: int = 1000) -> dict[str, tuple[str, str]]:
    """Of each call, all in turns: milliseconds (median, p90), and how many times as long the first takes."""
    timed = interleaved([[call] for call in calls.values()], rounds, seconds)
    found = {}
    for name, each, ratio in zip(calls, timed, ratios(timed), strict=True):
        low, high = ratio.interval
        times = f"{1 / ratio.median:.3g} ({1 / high:.3g}..{1 / low:.3g})"
        found[name] = (_milliseconds(each.percentile(50) * 1e3, each.percentile(90) * 1e3), times)
    return found


def benched(bench: Mapping[str, Any], batch: int = 0) -> dict[str, tuple[str, str]]:
    """The same of what `onnxopt bench`, or `run --stages`, measured; of an artifact "not measured"."""
    told = bench["batches"][batch]
    found = {each["name"]: (NOT_MEASURED, "") for each in bench["models"]}
    for each in told["latency"]:
        paired = each["of_first"] or told["noise"]
        low, high = paired["interval"]
        times = f"{1 / paired['median']:.3g} ({1 / high:.3g}..{1 / low:.3g})"
        found[each["name"]] = (_milliseconds(each["p50"], each["p90"]), times)
    return found


def _milliseconds(median: float, high: float) -> str:
    return f"{median:.3g}, {high:.3g}"


def markdown(table: Table) -> str:
    """A table as a README has it."""
    heading, *rows = [" | ".join(row) for row in table]
    rule = "|".join(["---"] * len(table[0]))
    return "\n".join([f"| {heading} |", f"|{rule}|", *(f"| {row} |" for row in rows)]) + "\n"
