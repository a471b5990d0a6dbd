"""Calibration: memory that does not grow with the samples, and onnxruntime's calibrators on the same data.

    python benchmarks/calibration.py [--only TEXT] [--rounds 3] [--quick] [--json]

Each calibration is a process of its own (benchmarks/calibration_one.py) on a model that went through O2, as one
calibrates them. Both are given the same samples one after the other, and the tensors that onnxruntime's quantize_static
would calibrate. Seconds and memory are those after the imports, which are printed by themselves. onnxruntime's
calibrators with histograms keep every activation of every sample, so that they get fewer samples on larger models, and
a quarter of what minmax gets.
--quick grows from 20 to 200 samples, and takes one round.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from calibration_one import PEERS
from measuring import FIXTURES, Spread, interleaved, ratio, run_measured
from reporting import Report, arguments, tick

MOST_GROWTH, LEAST_SAVED = 1.10, 3.0
FEW, MANY = 100, 2000
_ONE = Path(__file__).with_name("calibration_one.py")
_SUBJECTS: Mapping[str, int] = {"digits_mobilenet": 500, "ppocr_cls": 100, "tinybeauty": 20}
"""Models, and how many samples onnxruntime's calibrators with histograms get with them."""
_GROWING = ("minmax", "entropy")

Said = dict[str, Any]


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="models whose name contains this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    report = Report(3, f"2,000 samples take the memory of 100; at least {LEAST_SAVED:g} times less than onnxruntime's")
    report.rows = [("model", "method", "samples", "what", "ours", "onnxruntime", "ratio")]
    found: list[tuple[float, float]] = []
    growths: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, count in _SUBJECTS.items():
            if given.only in name:
                subject = _Subject(Path(folder), name)
                few, many = (20, 200) if given.quick else (FEW, MANY)
                growths += [_grow(report, subject, method, few, many) for method in _GROWING]
                rounds = 1 if given.quick else given.rounds
                found += [
                    _compare(report, subject, method, count * (4 if method == "minmax" else 1), rounds)
                    for method in PEERS
                ]
    saved, slower = min(one for one, _ in found), max(one for _, one in found)
    report.headline = (
        f"memory grows by at most {max(growths) - 1:.1%}; it is at least {saved:.1f} times less than onnxruntime's, "
        f"in at most {slower:.2f} times their time"
    )
    report.print_and_exit(as_json=given.json)


class _Subject:
    """A model, and the tensors to calibrate."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.model = folder / f"{name}.onnx"
        self.names = folder / f"{name}.json"
        sys.path.insert(0, str(FIXTURES))
        from real_models import REAL_MODELS, real_model

        import onnxopt

        path = real_model(name) if name in REAL_MODELS else FIXTURES / name / f"{name}.onnx"
        onnxopt.run(path, "O2").save(self.model)
        self.names.write_text(json.dumps(self.run("names", "percentile", 0)))

    def run(self, tool: str, method: str, samples: int) -> Any:
        """What one process said."""
        command = [
            sys.executable,
            _ONE,
            tool,
            method,
            self.model,
            samples,
            *([self.names] if tool == "onnxopt" else []),
        ]
        finished = run_measured(command, cwd=_ONE.parent).require_success()
        return json.loads(finished.stdout.splitlines()[-1])


def _grow(report: Report, subject: _Subject, method: str, few: int, many: int) -> float:
    """How many times the memory many samples take, imports included."""
    tick(f"{subject.name}: {method} on {many}")
    one, other = (subject.run("onnxopt", method, count) for count in (few, many))
    growth = float(other["peak"] / one["peak"])
    sizes = " -> ".join(f"{said['peak'] / 1e6:.0f}" for said in (one, other))
    rate = f"{many / other['seconds']:.0f} samples/s"
    report.rows.append((subject.name, method, f"{few} -> {many}", "peak MB", sizes, "", f"{growth:.3f}"))
    report.figures[f"{subject.name} {method} growth"] = {"few": one, "many": other, "rate": rate}
    report.notes.append(f"{subject.name}, {method}: {rate}")
    report.require(f"{subject.name}, {method}: memory grows {growth:.2f} times", growth <= MOST_GROWTH)
    return growth


def _compare(report: Report, subject: _Subject, method: str, count: int, rounds: int) -> tuple[float, float]:
    """How many times less memory, and how many times the seconds, ours takes."""
    said: dict[str, list[Said]] = {"onnxopt": [], "onnxruntime": []}

    def run(tool: str) -> float:
        said[tool].append(subject.run(tool, method, count))
        return float(said[tool][-1]["seconds"])

    seconds = interleaved({tool: partial(run, tool) for tool in said}, rounds, lambda line: tick(f"{method}, {line}"))
    ours, theirs = seconds["onnxopt"], seconds["onnxruntime"]
    cpu = [Spread(tuple(one["cpu"] for one in said[tool])) for tool in said]
    above = [Spread(tuple((one["peak"] - one["import_peak"]) / 1e6 for one in said[tool])) for tool in said]
    whole = [Spread(tuple(one["peak"] / 1e6 for one in said[tool])) for tool in said]
    imports = [Spread(tuple(one["import_peak"] / 1e6 for one in said[tool])) for tool in said]
    slower, saved = ratio(ours, theirs), ratio(above[1], above[0])
    label = (subject.name, method, str(count))
    report.rows += [
        (*label, "seconds", ours.show(""), theirs.show(""), slower.show("")),
        (*label, "processor seconds", cpu[0].show(""), cpu[1].show(""), ratio(cpu[0], cpu[1]).show("")),
        (*label, "peak MB after imports", above[0].show("", 0), above[1].show("", 0), saved.show("", 1)),
        (
            *label,
            "peak MB, with imports",
            whole[0].show("", 0),
            whole[1].show("", 0),
            ratio(whole[1], whole[0]).show("", 1),
        ),
        (*label, "imports alone, MB", imports[0].show("", 0), imports[1].show("", 0), ""),
    ]
    report.figures[f"{subject.name} {method}"] = said
    who = f"{subject.name}, {method}: "
    report.require(f"{who}{saved.median:.1f} times less memory", saved.median >= LEAST_SAVED)
    report.require(f"{who}{slower.median:.2f} times the time", slower.median <= 1)
    return saved.median, slower.median


if __name__ == "__main__":
    main()
