"""`onnxopt bench` beside a loop written by hand: python benchmarks/bench_agreement.py.

The loop is what anybody would write: an onnxruntime session with its defaults but for the threads, inputs once, runs
that do not count, then so many that do, `time.perf_counter` round each. It is run before and after `onnxopt bench`, in
processes of their own, several times in turns; what counts are medians, of the runs and then of the rounds. They agree
where they differ by no more than the noise that both state: that of `bench` (the model beside itself) and that of the
loop (how far its own rounds lie apart).
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from measuring import FIXTURES, ONNXOPT, Spread, run_measured
from reporting import Report, arguments, tick

MODELS = {
    "digits_mobilenet": FIXTURES / "digits_mobilenet" / "digits_mobilenet.onnx",
    "tinybeauty": FIXTURES / "tinybeauty" / "tinybeauty.onnx",
}
_QUIET = 0.1
"""As a part of the time: to agree within more noise says nothing."""
_LOOP = """
import json, sys, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
given = session.get_inputs()[0]
shape = [size if isinstance(size, int) else 1 for size in given.shape]
feeds = {given.name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
for _ in range(20):
    session.run(None, feeds)
until, times = time.perf_counter() + float(sys.argv[2]), []
while time.perf_counter() < until:
    start = time.perf_counter()
    session.run(None, feeds)
    times.append(time.perf_counter() - start)
print(json.dumps(times))
"""


def loop(model: Path, seconds: float) -> float:
    """Milliseconds of the median run."""
    done = run_measured([sys.executable, "-c", _LOOP, model, seconds]).require_success()
    times: list[float] = json.loads(done.stdout)
    return 1e3 * statistics.median(times)


def bench(model: Path, seconds: float) -> tuple[float, float]:
    """The same of `onnxopt bench`, and the noise that it states, as a part of it."""
    options = ["--threads", "1", "--seconds", seconds, "--json"]
    told = json.loads(run_measured([*ONNXOPT, "bench", model, *options]).require_success().stdout)
    (batch,) = told["batches"]
    noise = batch["noise"]
    reach = max(abs(np.log(value)) for value in (*noise["interval"], *noise["by_session"]))
    return batch["latency"][0]["p50"], float(np.expm1(max(reach, batch["latency"][0]["spread"])))


def compare(report: Report, name: str, model: Path, rounds: int, seconds: float) -> None:
    """One model: both figures, their noise, and whether they agree."""
    loops, benches, noises = [], [], []
    for number in range(rounds):
        tick(f"{name}: round {number + 1} of {rounds}")
        before = loop(model, seconds)
        figure, noise = bench(model, 2 * seconds)
        loops += [before, loop(model, seconds)]
        benches.append(figure)
        noises.append(noise)
    by_hand, ours = Spread(tuple(loops)), Spread(tuple(benches))
    own = (max(loops) - min(loops)) / (2 * by_hand.median)
    allowed = statistics.median(noises) + own
    off = ours.median / by_hand.median - 1
    agrees = abs(off) <= allowed
    report.rows.append(
        (name, by_hand.show("ms", 4), ours.show("ms", 4), f"{100 * off:+.1f} %", f"{100 * allowed:.1f} %")
    )
    report.figures[name] = {"loop": by_hand.to_json(), "bench": ours.to_json(), "off": off, "noise": allowed}
    report.require(f"{name}: the noise is at most {100 * _QUIET:.0f} %; measure on a quiet machine", allowed <= _QUIET)
    report.require(f"{name}: {100 * off:+.1f} % is within the noise, {100 * allowed:.1f} %", agrees)


def main() -> None:
    """Measure, print, and judge."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is run in turns")
    parser.add_argument("--seconds", type=float, default=3.0, help="for a loop; `bench` takes twice that")
    given = parser.parse_args()
    report = Report(5, "`onnxopt bench` agrees with a loop written by hand, within its stated noise")
    report.rows.append(("model", "loop", "bench", "off", "noise"))
    began = time.monotonic()
    for name, model in MODELS.items():
        compare(report, name, model, given.rounds, given.seconds)
    worst = max(abs(each["off"]) for each in report.figures.values())
    report.headline = f"off by {100 * worst:.1f} % at most, in {time.monotonic() - began:.0f} s"
    report.print_and_exit(as_json=given.json)


if __name__ == "__main__":
    main()
