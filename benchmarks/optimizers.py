"""Ours and the installed peers on every model of the zoo: nodes, correctness, time, memory, latency, fusions.

    python benchmarks/optimizers.py [--only PHASE,...] [--models TEXT,...] [--tools NAME,...] [--passes P] [--quick]

Each optimizer runs in a process of its own, with the settings of its README. The phases:

    nodes     what is left of the model; peers' results are kept, and only ours is done again: about a minute
    check     is it still the model (benchmarks/optimizers_check.py)
    fusions   what onnxruntime fuses in it afterwards
    time      seconds and peak memory, all tools in turns
    latency   in onnxruntime, with its optimizations on and off, by turns with the original and a copy of it

Without --only all of them, the verdicts, and the tables in benchmarks/results/. The models: benchmarks/zoo.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optimizers_clock as clock
import optimizers_runs as runs
import optimizers_tables as tables
import optimizers_verdicts as verdicts
from optimizers_phases import Measured, as_json
from optimizers_runs import OURS, Outcome
from reporting import Report, arguments
from zoo import MissingModel, Model, folder, zoo

PHASES = ("nodes", "check", "fusions", "time", "latency")
RESULTS = Path(__file__).parent / "results"
SIZES: tuple[tuple[str, Callable[[Outcome], int]], ...] = (
    ("weights", lambda found: found.weight_bytes),
    ("file", lambda found: found.file_bytes),
)
LARGE = ("synthetic_20001", "heavy")
"""Left out by --quick."""


def main() -> None:
    """Measure what is asked for; print, and keep a whole run."""
    given = _arguments()
    cache = folder().parent / "optimized"
    cache.mkdir(exist_ok=True)
    versions = runs.versions([tool for tool in given.tools if tool != OURS])
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        places = (cache, Path(scratch))
        with_ours = OURS in given.tools
        measured = Measured(list(_chosen(given)), versions, with_ours, given.passes, *places, given.limit, given.again)
        _measure(measured, given)
    whole = not (given.quick or given.models != [""]) and set(given.only) == set(PHASES)
    texts, reports = _tables(measured, given.only), _verdicts(measured, given.only)
    found = _summary(measured, reports)
    if whole:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "optimizers.json").write_text(json.dumps(found, indent=1))
        (RESULTS / "optimizers.txt").write_text("\n".join([*texts, *map(_text, reports)]))
    print(json.dumps(found, indent=1) if given.json else "\n".join([*texts, *map(_text, reports)]))
    sys.exit(not all(report.holds for report in reports))


def _measure(measured: Measured, given: argparse.Namespace) -> None:
    measured.nodes()
    if "check" in given.only:
        measured.check()
    if "fusions" in given.only:
        measured.fusions()
    if "time" in given.only:
        clock.time(measured, 1 if given.quick else 3)
    if "latency" in given.only:
        clock.latency(measured, 2.0 if given.quick else 6.0)


def _tables(measured: Measured, phases: list[str]) -> list[str]:
    told = ", ".join(f"{tool} {version}" for tool, version in measured.versions.items())
    found = [f"onnxopt with {measured.pipeline}; {told}\n"]
    if "nodes" in phases:
        found.append(tables.nodes(measured))
    if "nodes" in phases and len(phases) > 1:
        found += [tables.sizes(measured, *what) for what in SIZES]
    if "time" in phases:
        found += [tables.seconds(measured), tables.memory(measured)]
    if "latency" in phases:
        found += [tables.latency(measured, on=True), tables.latency(measured, on=False)]
    if "fusions" in phases:
        found.append(tables.fusions(measured))
    return [*found, f"faults\n------\n{tables.faults(measured)}"]


def _verdicts(measured: Measured, phases: list[str]) -> list[Report]:
    """Of the points whose phases were run."""
    if not measured.with_ours:
        return []
    points = {"check": verdicts.correct, "latency": verdicts.fast, "nodes": verdicts.small, "time": verdicts.quick}
    return [judge(measured) for phase, judge in points.items() if phase in phases]


def _text(report: Report) -> str:
    mark = "holds" if report.holds else "DOES NOT HOLD"
    notes = "".join(f"   {note}\n" for note in report.notes)
    return f"{report.point}. {report.claim}\n   {mark}: {report.headline}\n{notes}"


def _summary(measured: Measured, reports: list[Report]) -> dict[str, Any]:
    """In the form that benchmarks/all.py reads, with all figures."""
    notes = [f"{report.point}. {note}" for report in reports for note in report.notes]
    return {
        "point": "optimizers",
        "claim": "never wrong, never slower, never larger than the best peer, and quick",
        "holds": all(report.holds for report in reports),
        "headline": "; ".join(f"{report.point}. {report.headline}" for report in reports),
        "notes": notes,
        "verdicts": {report.point: report.holds for report in reports},
        **as_json(measured),
    }


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__)

    def commas(text: str) -> list[str]:
        return text.split(",")

    parser.add_argument("--only", default=list(PHASES), help="phases", type=commas, metavar="A,B")
    parser.add_argument("--models", default=[""], help="whose name contains one of these", type=commas, metavar="A,B")
    parser.add_argument("--tools", default=[OURS, *runs.peers()], help="optimizers", type=commas, metavar="A,B")
    parser.add_argument("--passes", default="O3", help="the pipeline of ours, by default O3")
    parser.add_argument("--quick", action="store_true", help="without the two largest models, and fewer rounds")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds that one run may take")
    parser.add_argument("--again", action="store_true", help="run the peers again, too")
    given = parser.parse_args()
    for name, known, chosen in (("--only", PHASES, given.only), ("--tools", [OURS, *runs.peers()], given.tools)):
        if unknown := [item for item in chosen if item not in known]:
            parser.error(f"{name}: there is no '{unknown[0]}'; there are {', '.join(known)}")
    return given


def _chosen(given: argparse.Namespace) -> Iterator[Model]:
    """The models that are wanted. One that cannot be had ends a run of all, whose verdict would be on fewer."""
    for model in zoo():
        if any(text in model.name for text in given.models) and not (given.quick and model.name in LARGE):
            try:
                model.find()
            except MissingModel as missing:
                if given.models == [""]:
                    sys.exit(f"{missing}; or name those to run with --models")
                sys.stderr.write(f"{missing}\n")
            else:
                yield model


if __name__ == "__main__":
    main()
