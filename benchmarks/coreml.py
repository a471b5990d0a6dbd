"""Core ML packages of real models: how small they are, and what they are worth, read back from the disk.

    python benchmarks/coreml.py [--only 2,3,4,5] [--models TEXT,...] [--variants A;B] [--targets A,B] [--quick]

    2  seven models in float32, float16, int8 weights, int8 weights and activations, 30 % and 75 % zeros, 4-bit
       palettes: bytes of the weights and of the package, and the accuracy of the package by MIL's semantics; float16
       within 0.05 points or dB of onnxruntime
    3  tinybeauty from the trained model to the package: under 100 KB with at most 0.2 dB lost, and a plot (needs
       onnxopt[plot]); latency is not measured here: --kit writes what measures it on a Mac or an iPhone
    4  basic-pitch beside the package that its authors ship: equal outputs, no larger
    5  no package larger than what coremltools' own compression makes of our float16 package

coremltools' pruning is by magnitude, its integers are linear_symmetric, its palettes uniform (k-means, its default,
takes as many bytes). Models and data of others come from their packages (fixtures/); BERT is exported by zoo_torch.py.
What a run without --variants, --targets and --quick finds is kept in results/, model by model. Needs onnxopt[coreml].
Nothing here runs on a device.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import coreml_verdicts as verdicts
from coreml_beauty import beauty
from coreml_runs import VARIANTS, Maker, Written, packages
from coreml_subjects import tasks
from coreml_theirs import theirs
from quantization_subjects import RealModelUnavailable
from reporting import Report, aligned, arguments

from onnxopt.atomic import replacing

RESULTS = Path(__file__).parent / "results"
TARGETS = ["iOS17", "iOS18"]
_QUICK = 2
"""Samples to judge on, with --quick."""


def main() -> None:
    """Measure what is asked for; print, and say what holds."""
    given = _arguments()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    is_whole = not given.quick and given.targets == TARGETS and given.variants == list(VARIANTS)
    try:
        points = _measure(given, is_whole)
    except RealModelUnavailable as missing:
        sys.exit(f"a model or its data cannot be had: {missing}")
    reports = [Report(**points[str(point)]) for point in given.only if str(point) in points]
    if given.json:
        print(json.dumps(_summary(reports), indent=1))
    else:
        print("\n".join(map(_text, reports)))
    sys.exit(not all(report.holds for report in reports))


def _measure(given: argparse.Namespace, is_whole: bool) -> dict[str, Any]:
    """The reports by point, of what was measured now and, of a whole run, of the models that were measured before."""
    chosen = [task for task in tasks() if any(text in task.name for text in given.models)]
    count = _QUICK if given.quick else None
    found: dict[str, Any] = {"packages": {}, "points": {}}
    for task in chosen:
        with tempfile.TemporaryDirectory() as folder:
            maker = Maker(task, Path(folder))
            if {2, 5} & set(given.only):
                written = packages(maker, given.variants, given.targets, count)
                found["packages"][task.name] = [asdict(each) for each in written]
            if task.name == "tinybeauty" and 3 in given.only:
                plot = RESULTS / "coreml_tinybeauty.png" if is_whole else None
                found["points"]["3"] = asdict(beauty(maker, given.kit, plot))
            if task.name == "basic_pitch" and 4 in given.only:
                found["points"]["4"] = asdict(theirs(maker))
        if is_whole:
            _keep(_judged(found, _kept()))
    return dict(_judged(found, _kept() if is_whole else {})["points"])


def _judged(found: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """With what was kept before, the models in their order; points 2 and 5 are of all packages."""
    packages = before.get("packages", {}) | found["packages"]
    known = {task.name: packages[task.name] for task in tasks() if task.name in packages}
    written = [Written(**each) for rows in known.values() for each in rows]
    points = before.get("points", {}) | found["points"]
    points |= {str(each.point): asdict(each) for each in (verdicts.accurate(written), verdicts.beside(written))}
    return {"packages": known, "points": points}


def _keep(judged: dict[str, Any]) -> None:
    reports = [Report(**judged["points"][point]) for point in sorted(judged["points"])]
    RESULTS.mkdir(exist_ok=True)
    with replacing(RESULTS / "coreml.json") as file:
        file.write(json.dumps(judged, indent=1).encode())
    with replacing(RESULTS / "coreml.txt") as file:
        file.write("\n".join(map(_text, reports)).encode())


def _kept() -> dict[str, Any]:
    """What runs before this one kept."""
    path = RESULTS / "coreml.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _text(report: Report) -> str:
    mark = "holds" if report.holds else "DOES NOT HOLD"
    notes = "".join(f"  {note}\n" for note in report.notes)
    table = aligned([tuple(row) for row in report.rows])
    return f"{report.point}. {report.claim}\n\n{table}{notes}{mark}: {report.headline}\n"


def _summary(reports: list[Report]) -> dict[str, Any]:
    """In the form that benchmarks/all.py reads, with all figures."""
    return {
        "point": "Core ML",
        "claim": "packages of real models, compact and as accurate as the float model",
        "holds": all(report.holds for report in reports),
        "headline": "; ".join(f"{report.point}. {report.headline}" for report in reports),
        "notes": [f"{report.point}. {note}" for report in reports for note in report.notes],
        "points": [asdict(report) for report in reports],
    }


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__)

    def commas(text: str) -> list[str]:
        return text.split(",")

    points = [2, 3, 4, 5]
    parser.add_argument(
        "--only", default=points, type=lambda text: [*map(int, commas(text))], metavar="2,3", help="points"
    )
    parser.add_argument(
        "--models", default=[""], type=commas, metavar="TEXT,...", help="whose name contains one of these"
    )
    parser.add_argument("--targets", default=TARGETS, type=commas, metavar="A,B", help="deployment targets")
    parser.add_argument("--variants", default=list(VARIANTS), type=lambda text: text.split(";"), metavar="A;B")
    parser.add_argument("--quick", action="store_true", help=f"judge on {_QUICK} samples; nothing is kept")
    parser.add_argument("--kit", type=Path, metavar="DIR", help="where to leave tinybeauty's kit")
    given = parser.parse_args()
    for name, known in (("only", points), ("variants", list(VARIANTS))):
        if unknown := [each for each in getattr(given, name) if each not in known]:
            parser.error(f"--{name}: there is no '{unknown[0]}'; there are {', '.join(map(str, known))}")
    return given


if __name__ == "__main__":
    main()
