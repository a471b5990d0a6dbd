"""The conformance models of the `onnx` wheel through a pipeline: 0 wrong outputs and 0 crashes.

    python benchmarks/conformance.py [--passes O2] [--sample N] [--only TEXT] [--json]

Each model of onnx.backend.test (node, simple, pytorch-converted, pytorch-operator, and the light models) is run with
the inputs that come with it, before and after the pipeline, onnxruntime's own optimizations off, and its outputs are
compared with the given ones by the test's own tolerance. What onnxruntime does not run even untouched, being newer than
it or for training, runs in onnx's reference evaluator on both sides, where that can. Outputs of random operators are
compared by type and shape. Inputs and outputs must keep names, order and types, and a model that passes onnx's checker
must still pass it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from queue import SimpleQueue

from conformance_cases import KINDS, cases, names
from conformance_check import ALREADY_WRONG, BY_REFERENCE, CRASH, NOT_RUNNABLE, OK, WRONG, Result, check
from reporting import Report, arguments, tick

_PATIENCE = 300.0
"""Seconds for one case."""
_LISTED = 40
"""Faults printed; the JSON has all."""
_EXAMPLES = 5
"""Models printed for what is no fault."""


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--passes", default="O2", help="the pipeline")
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="every Nth model only")
    parser.add_argument("--only", default="", metavar="TEXT", help="models whose name contains this")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help="(internal) check the cases named on standard input")
    given = parser.parse_args()
    if given.worker:
        _work(given.passes)
        return
    warnings.simplefilter("ignore")
    wanted = [name for name in names() if given.only in name[1]][:: given.sample]
    results = sorted(_run_all(wanted, given.passes, given.processes), key=lambda result: wanted.index(_id(result)))
    _report(results, given.passes).print_and_exit(as_json=given.json)


def _work(passes: str) -> None:
    warnings.simplefilter("ignore")
    wanted = {(kind, name) for kind, name in json.load(sys.stdin)}
    for case in cases(wanted):
        print(json.dumps([case.kind, case.name]), flush=True)
        print(json.dumps(asdict(check(case, passes))), flush=True)


def _run_all(wanted: list[tuple[str, str]], passes: str, processes: int) -> list[Result]:
    queue: SimpleQueue[Result | None] = SimpleQueue()
    shares = [wanted[start::processes] for start in range(processes)]
    threads = [threading.Thread(target=_supervise, args=(share, passes, queue), daemon=True) for share in shares]
    for thread in threads:
        thread.start()
    results: list[Result] = []
    running = len(threads)
    while running:
        result = queue.get()
        if result is None:
            running -= 1
        else:
            results.append(result)
            tick(f"{len(results)} of {len(wanted)}  {result.name}")
    return results


def _supervise(share: list[tuple[str, str]], passes: str, queue: SimpleQueue[Result | None]) -> None:
    """Have a child check the cases; where it dies, blame the case it was at, and start another for the rest."""
    left = dict.fromkeys(share)
    while left:
        at = next(iter(left))
        for said in _worker(list(left), passes):
            if isinstance(said, Result):
                queue.put(said)
                left.pop(_id(said))
            else:
                at = said
        if at in left:
            left.pop(at)
            queue.put(Result(*at, CRASH, "the process died, or took too long"))
    queue.put(None)


def _worker(share: list[tuple[str, str]], passes: str) -> Iterator[tuple[str, str] | Result]:
    """What a child says, as it says it: the case that it starts, and then the result."""
    command = [sys.executable, __file__, "--worker", "--passes", passes]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(share))
        process.stdin.close()
        while True:
            timer = threading.Timer(_PATIENCE, process.kill)
            timer.start()
            line = process.stdout.readline()
            timer.cancel()
            if not line:
                return
            said = json.loads(line)
            yield Result(**said) if isinstance(said, dict) else (said[0], said[1])


def _id(result: Result) -> tuple[str, str]:
    return result.kind, result.name


def _report(results: list[Result], passes: str) -> Report:
    verdicts = (OK, BY_REFERENCE, NOT_RUNNABLE, ALREADY_WRONG, WRONG, CRASH)
    report = Report(2, f"{passes} on every conformance model of the onnx wheel: 0 wrong outputs, 0 crashes")
    report.rows = [("models", "all", *verdicts)]
    counts = {kind: Counter(result.verdict for result in results if result.kind == kind) for kind in KINDS}
    counts["all"] = sum(counts.values(), Counter())
    for kind, count in counts.items():
        report.rows.append((kind, *map(str, (count.total(), *(count[verdict] for verdict in verdicts)))))
    faults = [result for result in results if result.verdict in (WRONG, CRASH)]
    facts = Counter(fact for result in results for fact in result.facts)
    report.notes = [f"{result.verdict}  {result.kind} {result.name}: {result.why}" for result in faults[:_LISTED]]
    report.notes += [f"and {len(faults) - _LISTED} more faults"] if len(faults) > _LISTED else []
    report.notes.append(
        f"rewritten: {facts['changed']}; nodes fewer: {sum(result.removed for result in results)}; bit equal to the "
        f"untouched model: {facts['bit equal']}; random outputs: {facts['random']}"
    )
    for fact in ("not idempotent", "beyond promise"):
        found = [result for result in results if fact in result.facts]
        report.notes.append(f"{fact}: {len(found)}" + "".join(f"\n    {r.name}: {r.why}" for r in found[:_EXAMPLES]))
    wrong, crashed = counts["all"][WRONG], counts["all"][CRASH]
    report.headline = f"{wrong} wrong, {crashed} crashes in {len(results)} models, "
    report.headline += f"{counts['all'][OK]} ok, {counts['all'][BY_REFERENCE]} ok by the reference evaluator"
    report.figures = {
        "results": [asdict(result) for result in results if result.verdict not in (OK, BY_REFERENCE) or result.why]
    }
    report.require("every model must be right", not faults)
    return report


if __name__ == "__main__":
    main()
