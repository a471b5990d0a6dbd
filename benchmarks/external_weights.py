"""A model with 1 GiB of external weights through O1: under 400 MB of memory, in at most twice the time of `cp`.

    python benchmarks/external_weights.py [--rounds 7] [--folder DIR] [--json]

`onnxopt run heavy.onnx -O 1 -o out.onnx` against `cp heavy.data copy.data`, in turns, on the same file system. The
input is in the page cache for both, the outputs are not there before, and what the last one wrote is on the disk
(`sync`) before the next starts.

Ours ends when its output is on the disk (fsync); plain `cp` ends when its output is in memory, which for 1 GiB may be a
third of a second, less than Python takes to import onnx and onnxruntime. The point is therefore judged against `cp`
followed by an fsync of the copy. The ratio to plain `cp` is printed too, as is our time without fsync. On a virtual
machine both depend most on whether the host has to find memory for the page cache: see the spread.

The peak is what the kernel counts for the process: mapped pages of the weights included. Afterwards both models run on
the same input in onnxruntime.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import heavy_model
from measuring import ONNXOPT, Finished, Spread, interleaved, ratio, run_measured
from reporting import Report, arguments, tick

MOST_TIMES, MOST_MEMORY = 2.0, 400e6
OURS, UNSYNCED, START, CP, CP_SYNCED = (
    "onnxopt run -O 1",
    "the same without fsync",
    "onnxopt run on a tiny model",
    "cp",
    "cp with fsync",
)
_NO_SYNC = "import onnxopt; from onnxopt import ir; ir.save(onnxopt.run('heavy.onnx', 'O1').graph, {!r}, sync=False)"
_WITH_SYNC = "cp heavy.data copy.data && sync copy.data"
_COMPARE = """
import sys
from pathlib import Path
from onnxopt.runtime.compare import Tolerance
from onnxopt.runtime.comparison import compare_models
found = compare_models(Path("heavy.onnx"), Path("out.onnx"), Tolerance.BITS, None, 4, {})
sys.exit("; ".join(str(d) for d in found.differences if not d.ok) or 0)
"""


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where to work: 5 GB are needed; by default the temporary folder")
    given = parser.parse_args()
    free = shutil.disk_usage(given.folder or tempfile.gettempdir()).free
    if free < 5e9:
        sys.exit(f"only {free / 1e9:.1f} GB are free, 5 are needed: give --folder")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        report = _measure(Path(folder), given.rounds)
    report.print_and_exit(as_json=given.json)


def _measure(folder: Path, rounds: int) -> Report:
    _write(folder)
    _write(folder / "tiny", 1)
    peaks: dict[str, int] = {}

    def run(name: str, command: list[object], output: str) -> float:
        for path in (folder / output, folder / f"{output}.data"):
            path.unlink(missing_ok=True)
        os.sync()
        finished: Finished = run_measured(command, cwd=folder).require_success()
        peaks[name] = max(peaks.get(name, 0), finished.peak_rss)
        return finished.seconds

    commands: dict[str, tuple[list[object], str]] = {
        OURS: ([*ONNXOPT, "run", "heavy.onnx", "-O", "1", "-o", "out.onnx"], "out.onnx"),
        CP: (["cp", "heavy.data", "copy.data"], "copy.data"),
        UNSYNCED: ([sys.executable, "-c", _NO_SYNC.format("unsynced.onnx")], "unsynced.onnx"),
        CP_SYNCED: (["sh", "-c", _WITH_SYNC], "copy.data"),
        START: ([*ONNXOPT, "run", "tiny/heavy.onnx", "-O", "1", "-o", "tiny/out.onnx"], "tiny/out.onnx"),
    }
    tasks = {name: partial(run, name, *command) for name, command in commands.items()}
    interleaved(tasks, 1, tick)  # into the caches
    spreads = interleaved(tasks, rounds, tick)
    run_measured([sys.executable, "-c", _COMPARE], cwd=folder).require_success()
    return _report(spreads, peaks)


def _write(folder: Path, *layers: int) -> None:
    folder.mkdir(exist_ok=True)
    run_measured([sys.executable, heavy_model.__file__, folder, *layers]).require_success()


def _report(spreads: dict[str, Spread], peaks: dict[str, int]) -> Report:
    report = Report(5, f"1 GiB of external weights through O1: under {MOST_MEMORY / 1e6:.0f} MB, at most twice `cp`")
    report.rows = [("process", "seconds (lowest..highest)", "times cp", "peak memory")]
    for name, spread in spreads.items():
        peak = f"{peaks[name] / 1e6:.0f} MB"
        report.rows.append((name, spread.show(""), ratio(spread, spreads[CP]).show(""), peak))
    durable, plain = (ratio(spreads[OURS], spreads[other]) for other in (CP_SYNCED, CP))
    unsynced, peak_rss = ratio(spreads[UNSYNCED], spreads[CP]), peaks[OURS]
    share = spreads[START].median / spreads[OURS].median
    report.notes = [
        f"against plain cp: {plain.show('times')}; without fsync on either side: {unsynced.show('times')}",
        f"{share:.0%} of the time is what `onnxopt run` costs on a model of 4 % of the weights",
        "both models give the same bits in onnxruntime",
    ]
    report.headline = (
        f"{peak_rss / 1e6:.0f} MB; {durable.show('times')} a cp with fsync, {plain.show('times')} plain cp"
    )
    report.figures = {name: spread.to_json() | {"peak_rss": peaks[name]} for name, spread in spreads.items()}
    report.require(f"the peak of {peak_rss / 1e6:.0f} MB is over {MOST_MEMORY / 1e6:.0f}", peak_rss < MOST_MEMORY)
    report.require(f"the median ratio {durable.median:.2f} is over {MOST_TIMES:g}", durable.median <= MOST_TIMES)
    return report


if __name__ == "__main__":
    main()
