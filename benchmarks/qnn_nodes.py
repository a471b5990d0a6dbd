"""Node models on Qualcomm's emulator, as they are and after `legalize-qnn`: at least 330 of 482 right, 0 wrong passed.

    python benchmarks/qnn_nodes.py [--soc SM8450] [--every] [--only TEXT] [--processes 2] [--json]

Each model of the sample (qnn_node_models.py says which qualify) is written as a DLC, compiled for the SoC and run on
the emulator, as it is and after the pipeline, each time in a child process. `ok`: the outputs are the given ones,
integers and truth values exactly, floating-point numbers to 40 dB with NaN and infinities in place. `mismatch`: it
compiled and ran, and the outputs are others: what `evaluate` refuses. `refused`: by validation, or by compiling it.
`crash`: the libraries died, in their child process. `FAULT` is ours: an exception, or outputs that are others in
onnxruntime too.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version

import onnxruntime
from conformance_cases import disagreement
from conformance_engines import run_in_onnxruntime
from onnx import ModelProto
from qnn_node_models import SAMPLE, NodeModel, fault, node_models, sample
from reporting import Report, arguments, keep, tick

import onnxopt
from onnxopt import ir
from onnxopt.backends.qnn.htp import Attempt, attempt
from onnxopt.backends.qnn.soc import find

OK, MISMATCH, REFUSED, CRASH, FAULT = "ok", "mismatch", "refused", "crash", "FAULT"
_PASSES = "O2,legalize-qnn,O2"
_PATIENCE = 60.0
"""Seconds for one model."""
_WANTED = 330
_RTOL, _ATOL = 1e-3, 1e-5


@dataclass(frozen=True)
class Outcome:
    """What became of one node model, both ways."""

    name: str
    op: str
    plain: str
    legalized: str
    plain_why: str
    legalized_why: str
    changed: bool
    """Whether the pipeline did anything."""


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--soc", default="SM8450")
    parser.add_argument("--every", action="store_true", help="every model that qualifies, not the sample alone")
    parser.add_argument("--only", default="", metavar="TEXT", help="models whose name contains this")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    start = time.perf_counter()
    qualifying = list(node_models())
    chosen = qualifying if given.every else sample(qualifying, SAMPLE)
    chosen = [model for model in chosen if given.only in model.name]
    soc = find(given.soc).id
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(given.processes) as pool:
        for outcome in pool.map(lambda model: _both(model, soc), chosen):
            outcomes.append(outcome)
            tick(f"{len(outcomes)} of {len(chosen)}")
    report = _report(outcomes, len(qualifying), given.soc)
    report.notes.append(f"{time.perf_counter() - start:.0f} s, {given.processes} at a time")
    if not given.only and not given.every:
        keep(
            report, f"onnxruntime {onnxruntime.__version__}, onnxruntime-qnn {version('onnxruntime-qnn')}", "qnn_nodes"
        )
    report.print_and_exit(as_json=given.json)


def _both(model: NodeModel, soc: int) -> Outcome:
    plain, plain_why = _judged(attempt(model.model, soc, model.feeds, _PATIENCE), model)
    try:
        done = onnxopt.run(model.model, _PASSES, target="qnn")
        after = ir.to_proto(done.graph)
        changed = bool(done.context.rewrites)
        found = run_in_onnxruntime(after, model.feeds)
        wrong = next((why for n, v in model.given.items() if (why := disagreement(v, found[n], _RTOL, _ATOL))), "")
    except Exception as error:  # noqa: BLE001  any is a fault of ours, to be listed
        return Outcome(model.name, model.op, plain, FAULT, plain_why, f"{type(error).__name__}: {error}", True)
    if wrong:
        return Outcome(model.name, model.op, plain, FAULT, plain_why, f"in onnxruntime: {wrong}", changed)
    verdict, why = _attempted(after, model, soc) if changed else (plain, plain_why)
    return Outcome(model.name, model.op, plain, verdict, plain_why, why, changed)


def _attempted(after: ModelProto, model: NodeModel, soc: int) -> tuple[str, str]:
    return _judged(attempt(after, soc, model.feeds, _PATIENCE), model)


def _judged(done: Attempt, model: NodeModel) -> tuple[str, str]:
    if done.crash:
        return CRASH, done.why
    if not done.ok:
        return REFUSED, done.why
    why = fault(model.given, done.outputs[0])
    return (MISMATCH, why) if why else (OK, "")


def _report(outcomes: list[Outcome], qualifying: int, soc: str) -> Report:
    report = Report(2, f"node models on the emulator of {soc}: at least {_WANTED} of {SAMPLE} after {_PASSES}")
    verdicts = (OK, MISMATCH, REFUSED, CRASH, FAULT)
    report.rows = [("model", "models", *verdicts)]
    counts = {}
    for title, field in (("as it is", "plain"), (_PASSES, "legalized")):
        counts[field] = Counter(str(getattr(outcome, field)) for outcome in outcomes)
        report.rows.append((title, str(len(outcomes)), *(str(counts[field][verdict]) for verdict in verdicts)))
    right = counts["legalized"][OK]
    lost = [outcome for outcome in outcomes if outcome.plain == OK != outcome.legalized]
    report.notes = [f"{qualifying} node models qualify", *_left(outcomes)]
    report.notes += [f"LOST {outcome.name}: {outcome.legalized}: {outcome.legalized_why}" for outcome in lost]
    report.headline = f"{right} of {len(outcomes)} right, {counts['plain'][OK]} as they are; "
    report.headline += f"{counts['legalized'][FAULT]} faults of ours"
    report.figures = {"qualifying": qualifying, "outcomes": [asdict(outcome) for outcome in outcomes]}
    report.require(f"{_WANTED} of {SAMPLE} must be right", right * SAMPLE >= _WANTED * len(outcomes))
    report.require("no fault may be ours", not counts["legalized"][FAULT])
    report.require("what was right must stay so", not lost)
    return report


def _left(outcomes: list[Outcome]) -> Iterator[str]:
    """What is not right, by operator."""
    left: defaultdict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.legalized != OK:
            left[outcome.op, outcome.legalized].append(outcome)
    for (op, verdict), found in sorted(left.items()):
        yield f"{op}: {len(found)} {verdict}: {' '.join(found[0].legalized_why.split())[:140]}"


if __name__ == "__main__":
    main()
