"""Every quantizing pass over the conformance models of the `onnx` wheel: 0 crashes, and only valid models come out.

    python benchmarks/conformance_quantizing.py [--passes "quantize{weights=uint8}"] [--target qnn] [--opset 21]
                                                [--sample N] [--only TEXT] [--json]

Each model is calibrated on the inputs that come with it. What comes out must have the names, types and order of inputs
and outputs of what went in, pass onnx's checker where that did, and load and run in onnxruntime where that did, with
outputs of the same types and shapes, finite where they were. A second run must find nothing left to do. Clear errors
are counted apart, with their reasons: data with infinity or NaN, opsets that lack an operator, types. `--opset` brings
the models to an opset first, so that fewer are refused for theirs.

How far outputs are from those in float is told and no verdict: one sample of a test is no calibration set, and many
tests are of values that no integers hold.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
import onnx
from conformance_cases import Case, cases, names
from conformance_engines import Values, run_in_onnxruntime
from conformance_interface import interface_change
from onnx import ModelProto
from reporting import Report, arguments, tick

import onnxopt
from onnxopt import ir
from onnxopt.data import inputs_of
from onnxopt.data.dataset import DataSet, data_set, require_finite
from onnxopt.errors import OnnxoptError, PassFailed
from onnxopt.runtime.session import NotRunnable

OK, SAME, REFUSED, NOT_RUNNABLE, WRONG, CRASH = "ok", "unchanged", "refused", "float not runnable", "WRONG", "CRASH"
PASSES = (
    "quantize",
    "quantize{activations=uint16 weight-method=mse per-channel=false}",
    "calibrate{method=entropy},quantize",
    "O3,equalize,quantize,correct-bias",
    "smooth,quantize",
    "quantize,requantize",
    "round-weights,quantize",
    "quantize-dynamic",
    "quantize-weights",
    "quantize-weights{type=int4}",
    "convert-float16",
)
"""The pipelines that are run by default, as far as their passes exist."""
_TARGETED = "quantize"
"""The pipeline that is run for every target."""
_PATIENCE = 300.0
"""Seconds for one model."""
_LISTED = 40
_Id = tuple[str, str]
_Run = tuple[str, str]
"""A pipeline and a target."""


@dataclass
class Result:
    """What happened to one model in one pipeline."""

    kind: str
    name: str
    run: str
    verdict: str
    why: str = ""
    decibels: float | None = None
    """Signal to noise of the worst output."""


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--passes", action="append", help="the pipeline, instead of all; may be repeated")
    parser.add_argument("--target", action="append", help="for this target; may be repeated")
    parser.add_argument("--opset", type=int, help="convert the models to this opset first")
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="every Nth model only")
    parser.add_argument("--only", default="", metavar="TEXT", help="models whose name contains this")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help="(internal) check the cases named on standard input")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.worker:
        _work()
        return
    wanted = [name for name in names() if given.only in name[1]][:: given.sample]
    runs = _runs(given)
    _report(_run_all(wanted, runs, given), runs, len(wanted)).print_and_exit(as_json=given.json)


def _runs(given: Namespace) -> list[_Run]:
    from onnxopt.pipeline.registry import Registry
    from onnxopt.pipeline.target import distinct_targets

    if given.passes:
        return [(passes, target) for passes in given.passes for target in given.target or ("onnx",)]
    known = {*Registry().names(), "O3"}
    made = [passes for passes in PASSES if all(each.split("{")[0] in known for each in passes.split(","))]
    runs = [(passes, "onnx") for passes in made]
    return runs + [(_TARGETED, target) for target in distinct_targets() if target != "onnx"]


def _check(case: Case, runs: Sequence[_Run], opset: int | None) -> Iterator[Result]:
    before = case.model
    if opset is not None:
        before = ir.to_proto(onnxopt.run(before, f"convert-opset{{opset={opset}}}", verify=False).graph)
    try:
        expected: list[Values] | None = [run_in_onnxruntime(before, feeds) for feeds, _ in case.data]
    except NotRunnable:
        expected = None
    is_valid = not _complaint(before)
    for passes, target in runs:
        result = Result(case.kind, case.name, f"{passes} for {target}", OK)
        try:
            done = onnxopt.run(before, passes, target=target, data=_samples(case, before), verify=False)
            after = ir.to_proto(done.graph)
            result.verdict = OK if done.context.rewrites else SAME
            _judge(result, case, before, after, is_valid, expected)
            again = onnxopt.run(after, passes, target=target, data=_samples(case, before), verify=False)
            if passes == _TARGETED and again.context.rewrites:
                result.verdict, result.why = WRONG, f"a second run goes on: {again.context.rewrites[0].what}"
        except PassFailed as error:
            result.verdict, result.why = CRASH, _flat(error)
        except OnnxoptError as error:
            result.verdict, result.why = REFUSED, f"{type(error).__name__}: {_flat(error)}"
        except Exception as error:  # noqa: BLE001  any is a fault of ours, to be listed
            result.verdict, result.why = CRASH, f"{type(error).__name__}: {_flat(error)}"
        yield result


def _samples(case: Case, model: ModelProto) -> DataSet | None:
    """The inputs of the test; none where the model has no inputs."""
    specs = inputs_of(model)
    feeds = [fed for fed, _ in case.data]
    if not specs or not feeds:
        return None
    return require_finite(data_set("the inputs of the test", specs, lambda: iter(feeds)))


def _judge(
    result: Result, case: Case, before: ModelProto, after: ModelProto, is_valid: bool, expected: list[Values] | None
) -> None:
    reason = interface_change(before, after)
    complaint = _complaint(after) if is_valid else ""
    if reason or complaint:
        result.verdict, result.why = WRONG, reason or f"onnx's checker refuses it: {complaint}"
        return
    if expected is None:
        result.verdict = NOT_RUNNABLE if result.verdict == OK else result.verdict
        return
    try:
        found = [run_in_onnxruntime(after, feeds) for feeds, _ in case.data]
    except NotRunnable as error:
        result.verdict, result.why = WRONG, _flat(error)
        return
    for wanted, given in zip(expected, found, strict=True):
        for name, one in wanted.items():
            _compare(result, name, one, given[name])


def _compare(result: Result, name: str, one: Any, other: Any) -> None:
    """Types and shapes, and whether what was finite still is."""
    if not isinstance(one, np.ndarray) or one.dtype.kind != "f":
        return
    if one.dtype != other.dtype or (one.shape != other.shape and "nonzero" not in result.name):
        result.verdict, result.why = WRONG, f"'{name}' was {one.dtype}{one.shape} and is {other.dtype}{other.shape}"
        return
    finite = np.isfinite(one)
    if not finite.any():
        return
    signal = float(np.square(one[finite], dtype=np.float64).sum())
    noise = float(np.square(one[finite].astype(np.float64) - other[finite]).sum())
    decibels = 200.0 if noise == 0 else 10 * np.log10(max(signal, 1e-30) / noise) if np.isfinite(noise) else -200.0
    result.decibels = float(decibels if result.decibels is None else min(result.decibels, decibels))
    if not np.isfinite(other[finite]).all():
        result.verdict, result.why = WRONG, f"'{name}' was finite and is not"


def _complaint(model: ModelProto) -> str:
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # noqa: BLE001  the checker raises errors of several unrelated classes
        return _flat(error) or type(error).__name__
    return ""


def _flat(message: Any) -> str:
    return " ".join(str(message).split())[:300]


def _work() -> None:
    asked = json.load(sys.stdin)
    runs = [(passes, target) for passes, target in asked["runs"]]
    for case in cases({(kind, name) for kind, name in asked["cases"]}):
        print(json.dumps([case.kind, case.name]), flush=True)
        results = [asdict(result) for result in _check(case, runs, asked["opset"])]
        print(json.dumps({"results": results}), flush=True)


def _run_all(wanted: list[_Id], runs: list[_Run], given: Namespace) -> list[Result]:
    queue: SimpleQueue[list[Result] | None] = SimpleQueue()
    for start in range(given.processes):
        share = wanted[start :: given.processes]
        threading.Thread(target=_supervise, args=(share, runs, given.opset, queue), daemon=True).start()
    results: list[Result] = []
    done, running = 0, given.processes
    while running:
        found = queue.get()
        if found is None:
            running -= 1
            continue
        results += found
        done += 1
        tick(f"{done} of {len(wanted)} models")
    return results


def _supervise(share: list[_Id], runs: list[_Run], opset: int | None, queue: SimpleQueue[list[Result] | None]) -> None:
    """Have a child check the cases; where it dies, blame the case it was at, and start another for the rest."""
    left = dict.fromkeys(share)
    while left:
        at = next(iter(left))
        for said in _worker(list(left), runs, opset):
            if isinstance(said, list):
                queue.put(said)
                left.pop(at)
            else:
                at = said
        if at in left:
            left.pop(at)
            queue.put([Result(*at, f"{p} for {t}", CRASH, "the process died, or took too long") for p, t in runs])
    queue.put(None)


def _worker(share: list[_Id], runs: list[_Run], opset: int | None) -> Iterator[_Id | list[Result]]:
    """What a child says, as it says it: the case that it starts, and then the results."""
    asked = {"cases": share, "runs": runs, "opset": opset}
    with subprocess.Popen(
        [sys.executable, __file__, "--worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(asked))
        process.stdin.close()
        while True:
            timer = threading.Timer(_PATIENCE, process.kill)
            timer.start()
            line = process.stdout.readline()
            timer.cancel()
            if not line:
                return
            said = json.loads(line)
            yield [Result(**result) for result in said["results"]] if isinstance(said, dict) else (said[0], said[1])


def _report(results: list[Result], runs: list[_Run], models: int) -> Report:
    report = Report(5, "quantizing passes on every conformance model of the onnx wheel: 0 crashes, valid models")
    verdicts = (OK, SAME, REFUSED, NOT_RUNNABLE, WRONG, CRASH)
    report.rows = [("pipeline", *verdicts, "SNR, median dB")]
    for passes, target in runs:
        found = [result for result in results if result.run == f"{passes} for {target}"]
        counts = Counter(result.verdict for result in found)
        noise = [result.decibels for result in found if result.verdict == OK and result.decibels is not None]
        median = f"{np.median(noise):.1f}" if noise else "-"
        report.rows.append((f"{passes} for {target}", *(str(counts[name]) for name in verdicts), median))
    faults = [result for result in results if result.verdict in (WRONG, CRASH)]
    report.notes = [f"{r.verdict}  {r.kind} {r.name} ({r.run}): {r.why}" for r in faults[:_LISTED]]
    reasons = Counter(_reason(result.why) for result in results if result.verdict == REFUSED)
    report.notes += [f"refused {count}: {reason}" for reason, count in reasons.most_common(12)]
    worst = Counter(fault.verdict for fault in faults)
    report.headline = f"{worst[WRONG]} wrong, {worst[CRASH]} crashes in {models} models, {len(runs)} pipelines each"
    report.figures = {"results": [asdict(result) for result in results if result.why]}
    report.require("every model must be valid", not faults)
    return report


def _reason(why: str) -> str:
    """An error without the names in it."""
    words = why.split("'")
    return "'...'".join(words[::2])[:110]


if __name__ == "__main__":
    main()
