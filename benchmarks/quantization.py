"""Ours and onnxruntime's `quantize_static` on the same models and calibration data: accuracy, size, rules, latency.

    python benchmarks/quantization.py [--only PHASE,...] [--models TEXT,...] [--passes P] [--quick]

The models: digits_mobilenet and tinybeauty, which are ours, efficientnet-lite0 and PaddleOCR's classifier of text
directions, which come from their packages (fixtures/). The phases:

    accuracy  on data that neither is calibrated on, int8 for onnxruntime; sizes of the files
    targets   the same models by the rules of every target: simulated in onnxruntime, and checked by
              onnxopt/quantization/legality
    latency   in onnxruntime with its optimizations on, one thread, batch of 1: float, theirs and ours in turns

Without --only all of them, the verdicts, and the tables in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnxruntime
import quantization_verdicts as verdicts
from quantization_latency import Latency, latency
from quantization_runs import FLOAT, OURS, PEER, TARGETS, Measured, measured
from quantization_subjects import RealModelUnavailable, subjects
from reporting import Report, aligned, arguments, tick

PHASES = ("accuracy", "targets", "latency")
RESULTS = Path(__file__).parent / "results"
LOSSLESS = "convert-opset{opset=17},O3"
"""Scales per channel need opset 13, and ppocr_cls is older; the others are of 17 already."""
PASSES = f"{LOSSLESS},pad-channels,quantize{{keep-float=Add}},strip-provenance"
"""One pipeline for all models and targets. Calibrated on one half of the calibration data and judged on the other,
residual sums in float gain 4 dB of SNR on tinybeauty, where every sum adds its error to the next, and move the others
little but for one half of ppocr_cls, which loses 4. Ranges that clip (percentile, mse) look better on the data they are
of; on the other half minmax is the better one where the photos differ, on tinybeauty. Sizes are without provenance."""


def main() -> None:
    """Measure what is asked for; print, and keep a whole run."""
    given = _arguments()
    chosen = [subject for subject in subjects() if any(text in subject.name for text in given.models)]
    targets = list(TARGETS) if "targets" in given.only else ["onnx"]
    times: dict[str, Latency] = {}
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for subject in chosen:
            tick(f"{subject.name}: quantizing and measuring")
            try:
                found.append(measured(subject, given.passes, LOSSLESS, targets, Path(folder)))
            except RealModelUnavailable as missing:
                sys.exit(f"{subject.name}: {missing}")
            if "latency" in given.only and (took := _latency(found[-1], 5.0 if given.quick else 20.0)):
                times[subject.name] = took
        reports = _verdicts(found, times, given.only)
        figures = verdicts.as_json(found, times)
    summary = _summary(reports, figures, given.passes)
    text = "\n".join([f"onnxopt with {given.passes}; onnxruntime {onnxruntime.__version__}\n", *map(_text, reports)])
    if not given.quick and given.models == [""] and set(given.only) == set(PHASES):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "quantization.json").write_text(json.dumps(summary, indent=1))
        (RESULTS / "quantization.txt").write_text(text)
    print(json.dumps(summary, indent=1) if given.json else text)
    sys.exit(not all(report.holds for report in reports))


def _latency(found: Measured, seconds: float) -> Latency | None:
    """Of the float model that ours is made of, theirs, and ours; None where one of them does not run."""
    everyone = {FLOAT: found.optimized, PEER: found.peer, OURS: found.ours["onnx"]}
    if any(variant.error for variant in everyone.values()):
        return None
    tick(f"{found.subject.name}: latency")
    return latency({name: variant.path for name, variant in everyone.items()}, [found.subject.one()], seconds)


def _verdicts(found: list[Measured], times: dict[str, Latency], phases: list[str]) -> list[Report]:
    reports = []
    if "accuracy" in phases:
        reports.append(verdicts.accurate(found))
    if "targets" in phases:
        reports.append(verdicts.lawful(found))
    if "latency" in phases:
        reports.append(verdicts.fast(found, times))
    return reports


def _text(report: Report) -> str:
    mark = "holds" if report.holds else "DOES NOT HOLD"
    notes = "".join(f"   {note}\n" for note in report.notes)
    return f"{report.point}. {report.claim}\n\n{aligned(report.rows)}\n   {mark}: {report.headline}\n{notes}"


def _summary(reports: list[Report], figures: dict[str, Any], passes: str) -> dict[str, Any]:
    """In the form that benchmarks/all.py reads, with all figures."""
    return {
        "point": "quantization",
        "claim": "int8 as accurate, as small and as fast as it must be, and lawful on every target",
        "holds": all(report.holds for report in reports),
        "headline": "; ".join(f"{report.point}. {report.headline}" for report in reports),
        "notes": [f"{report.point}. {note}" for report in reports for note in report.notes],
        "verdicts": {report.point: report.holds for report in reports},
        "passes": passes,
        "onnxruntime": onnxruntime.__version__,
        "models": figures,
    }


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__)

    def commas(text: str) -> list[str]:
        return text.split(",")

    parser.add_argument("--only", default=list(PHASES), help="phases", type=commas, metavar="A,B")
    parser.add_argument("--models", default=[""], help="whose name contains one of these", type=commas, metavar="A,B")
    parser.add_argument("--passes", default=PASSES, help=f"the pipeline of ours, by default {PASSES}")
    parser.add_argument("--quick", action="store_true", help="latency in fewer rounds; nothing is kept")
    given = parser.parse_args()
    if unknown := [phase for phase in given.only if phase not in PHASES]:
        parser.error(f"--only: there is no '{unknown[0]}'; there are {', '.join(PHASES)}")
    return given


if __name__ == "__main__":
    main()
