"""Ensembles of decision trees: `compact-trees` makes them smaller, says the same, and is no slower.

    python benchmarks/trees.py [--only TEXT] [--seconds 2] [--quick] [--json]

Needs scikit-learn and skl2onnx (`pip install 'onnxopt[bench]'`); models of onnxmltools with lightgbm or xgboost are
measured where these are installed. Each is trained on data that come with scikit-learn, converted, and compacted by
`onnxopt run --passes compact-trees`; labels and scores are compared, onnxruntime's optimizations off, on all rows and
on 10,000 that are drawn between the lowest and the highest of each feature, a tenth of them with a threshold's value.
Latency is the ratio in the same round (benchmarks/optimizers_latency.py: one thread, processor time, sessions in turns
and made anew): on all rows at once, and on one row. A/A is the original against itself in the same rounds.

Judged are those that the claim names; the others are shown. A whole run is kept in benchmarks/results/.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from measuring import ONNXOPT, Spread, run_measured
from optimizers_latency import AGAIN
from reporting import Report, aligned, arguments, tick
from trees_subjects import SUBJECTS, Subject

from onnxopt.runtime.session import Session

MOST, SLOWER = 0.45, 0.02
"""Of the bytes; and by how much the median of ratios may exceed that of A/A."""
RESULTS = Path(__file__).parent / "results"
_BEFORE, _AFTER = "original", "compact"
_DRAWN = 10_000


@dataclass(frozen=True)
class Times:
    """Ratios, round by round."""

    ratio: Spread
    again: Spread
    microseconds: float
    """What the original takes."""

    def show(self) -> str:
        """The median and the middle half."""
        low, high = _quartiles(self.ratio)
        return f"{self.ratio.median:.3f} ({low:.3f}..{high:.3f}; A/A {self.again.median:.3f})"

    @property
    def is_no_worse(self) -> bool:
        """Within the noise of the original."""
        return self.ratio.median <= max(1.0, self.again.median) + SLOWER


def main() -> None:
    """Measure, keep a whole run, and report."""
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="models whose name contains this")
    parser.add_argument("--seconds", type=float, default=2.0, help="of measuring, for each model and number of rows")
    parser.add_argument("--quick", action="store_true", help="one second each, and nothing is kept")
    given = parser.parse_args()
    report = Report(4, f"trees in at most {MOST:.0%} of the bytes, all predictions equal, latency no worse")
    report.rows = [("model", "before", "after", "ratio", "labels", "scores", "time, all rows", "time, one row", "us")]
    judged: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, subject in SUBJECTS.items():
            if given.only in name:
                tick(name)
                ratio = _measure(report, name, subject, Path(folder), 1.0 if given.quick else given.seconds)
                judged += [ratio] if ratio is not None and subject.is_judged else []
    report.require("the models that the claim names were measured", bool(judged) or bool(given.only))
    report.headline = (
        f"at most {max(judged, default=0.0):.1%} of the bytes" if judged else "nothing of the claim measured"
    )
    if not given.quick and not given.only:
        text = aligned(report.rows) + "".join(f"{note}\n" for note in report.notes)
        heading = f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}; {report.claim}\n\n"
        (RESULTS / "trees.txt").write_text(f"{heading}{text}\n{report.headline}\n")
        (RESULTS / "trees.json").write_text(json.dumps(report.figures, indent=1))
    report.print_and_exit(as_json=given.json)


def _measure(report: Report, name: str, subject: Subject, folder: Path, seconds: float) -> float | None:
    """One row of the table; its ratio of bytes."""
    try:
        model, rows = subject.build()
    except Exception as error:  # noqa: BLE001  # converters raise what they like
        report.notes.append(f"{name}: not to be had ({type(error).__name__}: {str(error).splitlines()[0][:90]})")
        report.require(f"{name} can be made", not subject.is_judged)
        return None
    before, after = folder / "before.onnx", folder / "after.onnx"
    before.write_bytes(model.SerializeToString())
    run_measured([*ONNXOPT, "run", before, "--passes", "compact-trees", "-o", after]).require_success()
    labels, difference = _compare(before, after, [rows, _drawn(model, rows)])
    ratio = after.stat().st_size / before.stat().st_size
    times = {count: _times(before, after, rows[:count], seconds) for count in (len(rows), 1)}
    many, one = times.values()
    sizes = (before.stat().st_size, after.stat().st_size)
    equal = "equal" if labels == 0 else f"{labels} differ"
    scores = "bit equal" if difference == 0 else f"{difference:.1e}"
    report.rows.append((
        name, f"{sizes[0]:,}", f"{sizes[1]:,}", f"{ratio:.1%}", equal, scores, many.show(), one.show(),
        f"{many.microseconds:.0f}, {one.microseconds:.1f}",
    ))  # fmt: skip
    report.figures[name] = {
        "bytes": sizes, "labels that differ": labels, "largest difference of scores": difference,
        "latency": {
            str(count): {"ratio": _short(found.ratio), "again": _short(found.again), "us": round(found.microseconds, 2)}
            for count, found in times.items()
        },
    }  # fmt: skip
    report.require(f"{name}: labels equal, scores within rounding", labels == 0 and difference < 1e-5)
    if subject.is_judged:
        report.require(f"{name}: {ratio:.1%} of the bytes", ratio <= MOST)
        report.require(f"{name}: {many.show()} times the time on all rows", many.is_no_worse)
    return ratio


def _drawn(model: onnx.ModelProto, rows: np.ndarray) -> np.ndarray:
    """Rows between the lowest and the highest of each feature; some features are a threshold, or missing."""
    rng = np.random.default_rng(0)
    low, high = rows.min(0), rows.max(0)
    drawn = (low + (high - low) * rng.random((_DRAWN, rows.shape[1]))).astype(np.float32)
    thresholds = _thresholds(model)
    drawn = np.where(rng.random(drawn.shape) < 0.1, rng.choice(thresholds, drawn.shape), drawn)
    found: np.ndarray = np.where(rng.random(drawn.shape) < 0.01, np.float32(np.nan), drawn).astype(np.float32)
    return found


def _thresholds(model: onnx.ModelProto) -> np.ndarray:
    values = [
        np.float32(value)
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "nodes_values"
        for value in attribute.floats
    ]
    return np.array(values or [0.0], np.float32)


def _compare(before: Path, after: Path, batches: list[np.ndarray]) -> tuple[int, float]:
    """How many labels differ, and by how much scores do at most."""
    sessions, labels, difference = [Session(path) for path in (before, after)], 0, 0.0
    for rows in batches:
        one, two = (session.run({session.inputs[0].name: rows}) for session in sessions)
        for name, value in one.items():
            found, expected = np.asarray(two[name]), np.asarray(value)
            if expected.dtype.kind == "f":
                same = (found == expected) | (np.isnan(found) & np.isnan(expected))
                difference = max(difference, float(np.max(np.abs(found - expected)[~same], initial=0.0)))
            else:
                labels += int(np.count_nonzero(found != expected))
    return labels, difference


def _times(before: Path, after: Path, rows: np.ndarray, seconds: float) -> Times:
    with tempfile.TemporaryDirectory() as folder:
        spec: dict[str, Any] = {
            "paths": {_BEFORE: str(before), AGAIN: str(before), _AFTER: str(after)}, "feeds": f"{folder}/feeds.npz",
            "optimize": True, "seconds": seconds,
        }  # fmt: skip
        np.savez(spec["feeds"], **{Session(before).inputs[0].name: rows})  # type: ignore[arg-type]
        (Path(folder) / "spec.json").write_text(json.dumps(spec))
        script = Path(__file__).with_name("optimizers_latency.py")
        finished = run_measured([sys.executable, script, f"{folder}/spec.json"], timeout=60 + 20 * seconds)
    values = json.loads(finished.require_success().stdout.splitlines()[-1])
    first = values[_BEFORE]
    ratio, again = (Spread(tuple(a / b for a, b in zip(values[name], first, strict=True))) for name in (_AFTER, AGAIN))
    return Times(ratio, again, statistics.median(first) * 1e6)


def _short(spread: Spread) -> dict[str, Any]:
    return {"median": round(spread.median, 4), "quartiles": [round(end, 4) for end in _quartiles(spread)]}


def _quartiles(spread: Spread) -> tuple[float, float]:
    low, _, high = statistics.quantiles(spread.values, n=4)
    return low, high


if __name__ == "__main__":
    main()
