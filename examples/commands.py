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

from onnxopt.atomic import replacing
from onnxopt.report.units import size

ROOT = Path(__file__).resolve().parent.parent
"""Commands run here, so that they can be copied."""

Table = Sequence[Sequence[str]]
"""Its first row is the heading."""


@dataclass(frozen=True)
class Workflow:
    """One example, being run."""

    folder: Path
    """Where what it makes goes."""
    seconds: float
    """For each measurement of latency."""
    mlflow: str | None

    @classmethod
    def of(cls, script: str, doc: str | None) -> Workflow:
        """The one whose script this is, as its command line has it; its folder is made."""
        parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        name = Path(script).resolve().parent.name
        parser.add_argument("--out", type=Path, default=ROOT / "build" / "examples" / name, help="where its files go")
        parser.add_argument("--seconds", type=float, default=20.0, help="for each measurement of latency")
        parser.add_argument("--mlflow", metavar="URI", help="log what is measured to this server, too")
        given = parser.parse_args()
        folder: Path = given.out.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(ROOT)
        return cls(Path(os.path.relpath(folder)), given.seconds, given.mlflow)

    def run(self, *words: object) -> Any:
        """What a command of onnxopt's tells as JSON. Where it fails, that is the end."""
        arguments = [str(word) for word in words]
        print(f"$ onnxopt {shlex.join(arguments)}", flush=True)
        done = subprocess.run([sys.executable, "-m", "onnxopt", *arguments, "--json"], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.returncode)
        return json.loads(done.stdout)

    def bench(self, *words: object) -> Any:
        """`onnxopt bench` on one thread, logged to MLflow where that is asked for."""
        logged = ("--mlflow", self.mlflow) if self.mlflow else ()
        return self.run("bench", *words, "--threads", 1, "--seconds", f"{self.seconds:g}", *logged)

    def keep(self, table: Table, figures: Mapping[str, Any]) -> None:
        """Print the table, and leave it and all figures in the folder."""
        shown = markdown(table)
        print(f"\n{shown}")
        for name, text in (("table.md", shown), ("figures.json", json.dumps(figures, indent=1) + "\n")):
            with replacing(self.folder / name) as file:
                file.write(text.encode())


def stages(names: Sequence[str], bench: Mapping[str, Any]) -> list[list[str]]:
    """A table of what `onnxopt bench`, or `run --stages`, measured: a row for each model, by these names."""
    told, batch = bench["models"], bench["batches"][0]
    latency = {each["name"]: each for each in batch["latency"]}
    judged = told[0]["accuracy"]
    heading = ["", "bytes", "nodes", *([judged["metric"]] if judged else []), "ms: median, p90", "of its time"]
    rows = [heading]
    for name, each in zip(names, told, strict=True):
        nodes = "" if each["nodes"] is None else f"{each['nodes']}"
        worth = [accuracy(each["accuracy"])] if judged else []
        rows.append([name, size(each["bytes"]), nodes, *worth, *_times(latency.get(each["name"]), batch["noise"])])
    return rows


def accuracy(found: Mapping[str, Any] | None) -> str:
    """A metric with its unit."""
    return "not measured" if found is None else f"{found['model']:.2f} {found['unit']}".strip()


def _times(found: Mapping[str, Any] | None, noise: Mapping[str, Any]) -> list[str]:
    """Milliseconds, and how many times as long as the first, with the interval; of the first itself, the noise."""
    if found is None:
        return ["not measured", ""]
    shown = f"{found['p50']:.3g}, {found['p90']:.3g}"
    if found["of_first"] is None:
        low, high = noise["interval"]
        return [shown, f"itself again: {low:.2f}..{high:.2f}"]
    low, high = found["of_first"]["interval"]
    return [shown, f"{found['of_first']['median']:.2f} ({low:.2f}..{high:.2f})"]


def markdown(table: Table) -> str:
    """A table as a README has it."""
    heading, *rows = [" | ".join(row) for row in table]
    rule = "|".join(["---"] * len(table[0]))
    return "\n".join([f"| {heading} |", f"|{rule}|", *(f"| {row} |" for row in rows)]) + "\n"
