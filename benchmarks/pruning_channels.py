"""efficientnet-lite0 without 30 % of its MACs: how long it takes beside the original, and how many photos stay right.

    python benchmarks/pruning_channels.py [--models TEXT,...] [--macs 0.7] [--seconds 20] [--no-latency] [--only-pruned]
        [--json]

Whole channels are removed by `prune-channels`, which is calibrated on photos that have nothing to do with those it is
judged by, and uses no labels; nothing is trained. `reconstruct` after it is shown too. With `--models digits,tiny` the
fixtures are measured as well, for which nothing is required.

The verdict: 30 % of efficientnet-lite0's MACs are gone, and onnxruntime takes at most 0.8 times as long as for the
original, each on one thread, in turns. The median of the ratios counts; the original beside itself tells the noise.
"""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from quantization_runs import Variant
from quantization_subjects import RealModelUnavailable, Subject, subjects
from reporting import Report, arguments, tick

import onnxopt
from onnxopt import ir
from onnxopt.runtime.latency import Ratio, latency_ratios
from onnxopt.runtime.session import Session

BEFORE = "fold-constants"
"""So that paddings are known; BatchNormalization stays for the pruning to look at."""
AFTER = "O3"
MULTIPLE = 16
"""onnxruntime's blocked convolutions take 16 channels at once, 8 without AVX-512. Other numbers go to kernels that take
longer than was saved."""
MAIN = "efficientnet_lite0"
LIMIT = 0.8
_GENERATIONS = 5
"""Sessions are made anew so often: where their weights lie in memory is worth some per cent."""


@dataclass
class _Made(Variant):
    """A model that a pipeline made."""

    seconds: float = 0.0
    macs: int = 0
    parameters: int = 0


def main() -> None:
    """Measure, print, and say what holds."""
    parser = arguments(__doc__)
    parser.add_argument("--models", default=MAIN, metavar="TEXT,...", help="models whose names contain one of these")
    parser.add_argument("--macs", type=float, default=0.7, help="the share of the MACs that is to be left")
    parser.add_argument("--seconds", type=float, default=20.0, help="for the latency of a model")
    parser.add_argument("--no-latency", action="store_true", help="do not measure time, on a busy machine")
    parser.add_argument("--only-pruned", action="store_true", help="without reconstruct, which takes minutes")
    given = parser.parse_args()
    report = Report(2, f"{MAIN} with 30 % of its MACs removed by channels takes at most {LIMIT} times as long")
    report.rows.append(("model", "", "worth", "right", "MACs", "parameters", "bytes", "latency", "seconds"))
    with tempfile.TemporaryDirectory() as folder:
        for subject in subjects():
            if any(text in subject.name for text in given.models.split(",")):
                try:
                    _measure(subject, report, Path(folder), given)
                except RealModelUnavailable as error:
                    report.require(str(error), False)
    report.print_and_exit(as_json=given.json)


def _measure(subject: Subject, report: Report, folder: Path, given: Namespace) -> None:
    share = float(given.macs)
    prune = f"{BEFORE},prune-channels{{macs={share:g} multiple={MULTIPLE}}}"
    pipelines = {
        "optimized": AFTER,
        "pruned": f"{prune},{AFTER}",
        "pruned, reconstructed": f"{prune},reconstruct,{AFTER}",
    }
    if given.only_pruned:
        del pipelines["pruned, reconstructed"]
    found = [_original(subject)] + [_make(subject, name, passes, folder) for name, passes in pipelines.items()]
    first, macs = found[0], found[1].macs  # as the file stands, the sizes of paddings are computed, and MACs not known
    latencies: list[Ratio | None] = [None] * len(found)
    if not given.no_latency:
        noise, *others = _latency([first, *found], subject, float(given.seconds))
        latencies = [noise, *others]
        report.notes.append(f"{subject.name}: the original beside itself takes {noise} times as long")
    for made, ratio in zip(found, latencies, strict=True):
        right = f"{int((made.deployed.rows > 0).sum())}/{len(made.deployed.rows)}" if subject.unit == "%" else ""
        left = f"{made.macs / macs:.3f}" if made.macs else "?"
        report.rows.append((
            subject.name, made.who, f"{made.deployed.mean:.2f} {subject.unit}", right, left,
            f"{made.parameters:,}", f"{made.bytes:,}", "" if ratio is None else str(ratio), f"{made.seconds:.0f}",
        ))  # fmt: skip
        report.figures[f"{subject.name} {made.who}"] = {
            "macs": made.macs, "mean": made.deployed.mean, "latency": None if ratio is None else ratio.median,
        }  # fmt: skip
    if subject.name == MAIN:
        best, ratio = found[-1], latencies[-1]
        report.require(f"{best.macs / macs:.3f} of the MACs are left", best.macs <= share * macs)
        report.headline = f"{MAIN}: {best.macs / macs:.2f} of the MACs, "
        report.headline += (
            f"{int((first.deployed.rows > 0).sum())} right before, {int((best.deployed.rows > 0).sum())} after"
        )
        if ratio is not None:
            report.require(f"it takes {ratio} times as long (limit {LIMIT})", ratio.median <= LIMIT)
            report.headline += f", {ratio.median:.2f} of the time"


def _original(subject: Subject) -> _Made:
    made = _Made("original", subject, subject.find_model())
    _count(made)
    return made


def _make(subject: Subject, name: str, passes: str, folder: Path) -> _Made:
    tick(f"{subject.name}: {name}")
    made = _Made(name, subject, folder / f"{subject.name}-{name.replace(', ', '-')}.onnx")
    started = time.perf_counter()
    result = onnxopt.run(subject.find_model(), passes, data=subject.find_calibration(), target="onnx", verify=False)
    made.seconds = time.perf_counter() - started
    result.save(made.path)
    _count(made)
    return made


def _count(made: _Made) -> None:
    costs = ir.costs(ir.load(made.path))
    made.macs, made.parameters = costs.macs, costs.parameters


def _latency(found: list[_Made], subject: Subject, seconds: float) -> list[Ratio]:
    """How many times as long each takes as the first, which is left out."""
    values: list[list[float]] = [[] for _ in found]
    for _ in range(_GENERATIONS):
        sessions = [Session(made.path, optimize=True) for made in found]
        for place, ratio in enumerate(latency_ratios(sessions, [subject.one()], 60, seconds / _GENERATIONS)):
            values[place] += ratio.values
    return [Ratio(tuple(each)) for each in values[1:]]


if __name__ == "__main__":
    main()
