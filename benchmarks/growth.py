"""How time grows with the nodes: 100,000 take at most 6 times what 20,000 take, through O1.

    python benchmarks/growth.py [--rounds 5] [--json]

Each run is a process of its own on a synthetic model (benchmarks/synthetic.py); load and save are counted, imports are
not. onnxslim and onnxsim do the 20,000 nodes in the same rounds, with their defaults. They are no equals of O1: both
also fuse, and both infer shapes.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from measuring import Finished, Spread, interleaved, ratio, run_measured
from reporting import Report, arguments, tick

SMALL, LARGE, MOST = 20_000, 100_000, 6.0
_PATIENCE = 600.0


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = _measure(Path(folder), given.rounds)
    report.print_and_exit(as_json=given.json)


def _measure(folder: Path, rounds: int) -> Report:
    models = {nodes: _write(folder, nodes) for nodes in (SMALL, LARGE)}
    last: dict[tuple[str, int], Finished] = {}
    busy: dict[tuple[str, int], list[float]] = {}

    def run(tool: str, nodes: int) -> float:
        command = [sys.executable, Path(__file__).with_name("optimize_one.py"), tool, models[nodes], _out(folder, tool)]
        try:
            finished = last[tool, nodes] = run_measured(command, timeout=_PATIENCE).require_success()
        except subprocess.TimeoutExpired:
            return math.inf
        said = json.loads(finished.stdout.splitlines()[-1])
        busy.setdefault((tool, nodes), []).append(said["cpu"])
        return float(said["seconds"])

    runs = [("onnxopt", LARGE), ("onnxopt", SMALL), ("onnxslim", SMALL), ("onnxsim", SMALL)]
    spreads = interleaved({key: partial(run, *key) for key in runs}, rounds, tick)
    cpu = {key: Spread(tuple(values)) for key, values in busy.items()}
    report = Report(4, f"{LARGE:,} nodes take at most {MOST:g} times what {SMALL:,} take, through O1")
    report.rows = [("tool", "nodes", "left", "seconds", "times ours on 20,000", "processor seconds", "peak memory")]
    ours = spreads["onnxopt", SMALL]
    for (tool, nodes), spread in spreads.items():
        if (tool, nodes) not in last:
            report.rows.append((tool, f"{nodes:,}", "", f"over {_PATIENCE:.0f}", "", "", ""))
            continue
        left = f"{_count(_out(folder, tool)):,}" if nodes == SMALL else ""
        peak = f"{last[tool, nodes].peak_rss / 1e6:.0f} MB"
        times = ratio(spread, ours).show("")
        report.rows.append((tool, f"{nodes:,}", left, spread.show(""), times, cpu[tool, nodes].show(""), peak))
    _judge(report, spreads, cpu)
    return report


def _judge(report: Report, spreads: dict[tuple[str, int], Spread], cpu: dict[tuple[str, int], Spread]) -> None:
    growth, busy = (ratio(found["onnxopt", LARGE], found["onnxopt", SMALL]) for found in (spreads, cpu))
    ours = spreads["onnxopt", SMALL]
    slim, sim = (ratio(spreads[tool, SMALL], ours).median for tool in ("onnxslim", "onnxsim"))
    report.notes.append(f"in processor time, which a busy machine disturbs less: {busy.show('times')}")
    report.headline = f"{growth.show('times')}; on {SMALL:,} onnxslim takes {slim:.2f} times as long, onnxsim {sim:.2f}"
    report.figures = {f"{tool} {nodes}": spread.to_json() for (tool, nodes), spread in spreads.items()}
    report.figures |= {f"{tool} {nodes} cpu": spread.to_json() for (tool, nodes), spread in cpu.items()}
    report.figures |= {"growth": growth.to_json(), "growth cpu": busy.to_json()}
    report.require(f"the median ratio {growth.median:.2f} is over {MOST:g}", growth.median <= MOST)


def _write(folder: Path, nodes: int) -> Path:
    path = folder / f"{nodes}.onnx"
    code = f"import onnx, synthetic; onnx.save(synthetic.large_model({nodes}), {str(path)!r})"
    run_measured([sys.executable, "-c", code], cwd=Path(__file__).parent).require_success()
    return path


def _out(folder: Path, tool: str) -> Path:
    return folder / f"{tool}.onnx"


def _count(path: Path) -> int:
    import onnx
    from synthetic import count_nodes

    return count_nodes(onnx.load(path).graph)


if __name__ == "__main__":
    main()
