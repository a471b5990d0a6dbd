"""Calibration: memory that does not grow with the samples, and onnxruntime's calibrators on the same data.

    python benchmarks/calibration.py [--only TEXT] [--rounds 3] [--quick] [--json]

Each calibration is a process of its own (benchmarks/calibration_one.py) on a model that went through O2, as one
calibrates them. Both are given the same samples one after the other, and the tensors that onnxruntime's quantize_static
would calibrate; the same samples through the same model and nothing else is plain inference, one at a time, with
onnxruntime's optimizations on. Seconds and memory are those after the imports, which are printed by themselves.
All take turns, ratios are taken round by round, and processor time is judged as well as time: absolute seconds say
little on a machine that others use too. onnxruntime's calibrators with histograms keep every activation of every
sample, so that they get fewer samples. A whole run is kept in benchmarks/results/.

--quick grows from 20 to 200 samples, takes one round, 400 samples at most, and is not kept.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
from calibration_one import PEERS
from measuring import FIXTURES, Spread, interleaved, ratio, run_measured
from reporting import Report, aligned, arguments, tick

MOST_GROWTH, LEAST_SAVED = 1.10, 3.0
FEW, MANY = 100, 2000
RESULTS = Path(__file__).parent / "results"
_ONE = Path(__file__).with_name("calibration_one.py")
_SUBJECTS: Mapping[str, tuple[int, int]] = {
    "digits_mobilenet": (MANY, 500),
    "ppocr_cls": (MANY, 100),
    "tinybeauty": (400, 20),
}
"""Models, and how many samples both get of which only the ends are kept, and of which onnxruntime keeps all values."""
_GROWING = ("minmax", "entropy")
_OURS, _PEER, _PLAIN = "onnxopt", "onnxruntime", "plain"

Said = dict[str, Any]


def main() -> None:
    """Measure, keep a whole run, and report."""
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="models whose name contains this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    report = Report(3, f"2,000 samples take the memory of 100; at least {LEAST_SAVED:g} times less than onnxruntime's")
    report.rows = [("model", "method", "samples", "what", "ours", "onnxruntime", "ratio", "plain inference")]
    found: list[_Compared] = []
    growths: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, counts in _SUBJECTS.items():
            if given.only in name:
                subject = _Subject(Path(folder), name)
                few, many = (20, 200) if given.quick else (FEW, MANY)
                growths += [_grow(report, subject, method, few, many) for method in _GROWING]
                for method in PEERS:
                    count = min(counts[method != "minmax"], 400 if given.quick else MANY)
                    found.append(_compare(report, subject, method, count, 1 if given.quick else given.rounds))
    saved, slower = min(one.saved for one in found), max(one.slower for one in found)
    cpu, plain = max(one.cpu for one in found), [one.beside_plain for one in found]
    report.headline = (
        f"memory grows by at most {max(growths) - 1:.1%}; beyond the imports it is at least {saved:.1f} times less "
        f"than onnxruntime's, in at most {slower:.2f} times their time and {cpu:.2f} times their processor time: "
        f"{min(plain):.1f} to {max(plain):.1f} times plain inference"
    )
    if not given.quick and not given.only:
        _keep(report)
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
        names = [self.names] if tool == _OURS else []
        command = [sys.executable, _ONE, tool, method, self.model, samples, *names]
        finished = run_measured(command, cwd=_ONE.parent).require_success()
        return json.loads(finished.stdout.splitlines()[-1])


def _grow(report: Report, subject: _Subject, method: str, few: int, many: int) -> float:
    """How many times the memory many samples take, imports included."""
    tick(f"{subject.name}: {method} on {many}")
    one, other = (subject.run(_OURS, method, count) for count in (few, many))
    growth = float(other["peak"] / one["peak"])
    sizes = " -> ".join(f"{said['peak'] / 1e6:.0f}" for said in (one, other))
    rate = f"{many / other['seconds']:.0f} samples/s"
    report.rows.append((subject.name, method, f"{few} -> {many}", "peak MB", sizes, "", f"{growth:.3f}", ""))
    report.figures[f"{subject.name} {method} growth"] = {"few": one, "many": other, "rate": rate}
    report.notes.append(f"{subject.name}, {method}: {rate}")
    report.require(f"{subject.name}, {method}: memory grows {growth:.2f} times", growth <= MOST_GROWTH)
    return growth


@dataclass(frozen=True)
class _Compared:
    """Medians of ratios."""

    saved: float
    """Their memory by ours, beyond the imports."""
    slower: float
    """Our time by theirs, and then our processor time."""
    cpu: float
    beside_plain: float
    """Our processor time by that of plain inference."""


def _compare(report: Report, subject: _Subject, method: str, count: int, rounds: int) -> _Compared:
    """Ours, theirs and plain inference in turns."""
    said: dict[str, list[Said]] = {_OURS: [], _PEER: [], _PLAIN: []}

    def run(tool: str) -> float:
        said[tool].append(subject.run(tool, method, count))
        return float(said[tool][-1]["seconds"])

    interleaved({tool: partial(run, tool) for tool in said}, rounds, lambda line: tick(f"{method}, {line}"))

    def add(what: str, of: str, digits: int, *, inverse: bool = False, minus: str = "", unit: float = 1) -> Spread:
        ours, theirs, plain = (
            Spread(tuple((one[of] - (one[minus] if minus else 0)) / unit for one in said[tool]))
            for tool in (_OURS, _PEER, _PLAIN)
        )
        found = ratio(theirs, ours) if inverse else ratio(ours, theirs)
        shown = (ours.show("", digits), theirs.show("", digits), found.show(""), plain.show("", digits))
        report.rows.append((subject.name, method, str(count), what, *shown))
        return found

    slower = add("seconds", "seconds", 2).median
    cpu = add("processor seconds", "cpu", 2).median
    saved = add("peak MB after imports", "peak", 0, inverse=True, minus="import_peak", unit=1e6).median
    add("peak MB, with imports", "peak", 0, inverse=True, unit=1e6)
    add("imports alone, MB", "import_peak", 0, inverse=True, unit=1e6)
    report.figures[f"{subject.name} {method}"] = said
    who = f"{subject.name}, {method}: "
    report.require(f"{who}{saved:.1f} times less memory", saved >= LEAST_SAVED)
    report.require(f"{who}{slower:.2f} times the time", slower <= 1)
    report.require(f"{who}{cpu:.2f} times the processor time", cpu <= 1)
    plain = ratio(*(Spread(tuple(one["cpu"] for one in said[tool])) for tool in (_OURS, _PLAIN)))
    return _Compared(saved, slower, cpu, plain.median)


def _keep(report: Report) -> None:
    mark = "holds" if report.holds else "DOES NOT HOLD"
    notes = "".join(f"   {note}\n" for note in report.notes)
    text = f"{report.point}. {report.claim}\n\n{aligned(report.rows)}\n   {mark}: {report.headline}\n{notes}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "calibration.txt").write_text(f"onnxruntime {onnxruntime.__version__}\n\n{text}")
    figures = {"onnxruntime": onnxruntime.__version__, **asdict(report)}
    (RESULTS / "calibration.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
