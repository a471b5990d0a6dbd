"""The conformance models of the `onnx` wheel through -O 1, -O 2, and -O 3 for every target: 0 wrong, 0 crashes.

    python benchmarks/conformance.py [--passes O2] [--target qnn] [--symbolic each] [--sample N] [--only TEXT] [--json]

Each model of onnx.backend.test (node, simple, pytorch-converted, pytorch-operator, and the light models) is run with
the inputs that come with it, before and after the pipeline, onnxruntime's own optimizations off, and its outputs are
compared with the given ones by the test's own tolerance. What onnxruntime does not run even untouched, being newer than
it or for training, runs in onnx's reference evaluator on both sides, where that can. Outputs of random operators are
compared by type and shape. Inputs and outputs must keep names, order and types, and a model that passes onnx's checker
must still pass it. A second run should find nothing left to do; where it does, that is told. A graph that is equal to
that of an earlier run is not judged again.

`--symbolic` makes symbols of all sizes of the inputs and forgets the shapes of all else (conformance_symbolic.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import warnings
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from queue import SimpleQueue

from conformance_cases import KINDS, cases, names
from conformance_check import ALREADY_WRONG, BY_REFERENCE, CRASH, NOT_RUNNABLE, OK, WRONG, Result, Run, check
from conformance_symbolic import symbolic
from reporting import Report, arguments, tick

_PATIENCE = 300.0
"""Seconds for one model."""
_LISTED = 40
"""Faults printed; the JSON has all."""
_EXAMPLES = 5
"""Models printed for what is no fault."""
_Id = tuple[str, str]
"""Kind and name of a case."""


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--passes", action="append", help="the pipeline, instead of O1, O2 and O3; may be repeated")
    parser.add_argument("--target", action="append", help="for this target, or for all; may be repeated")
    parser.add_argument("--symbolic", choices=("each", "size"), help="each size a symbol, or one for equal sizes")
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="every Nth model only")
    parser.add_argument("--only", default="", metavar="TEXT", help="models whose name contains this")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help="(internal) check the cases named on standard input")
    given = parser.parse_args()
    if given.worker:
        _work()
        return
    warnings.simplefilter("ignore")
    wanted = [name for name in names() if given.only in name[1]][:: given.sample]
    runs = _runs(given)
    results = _run_all(wanted, runs, given.symbolic, given.processes)
    order = {case: index for index, case in enumerate(wanted)}
    results.sort(key=lambda result: order[result.kind, result.name])
    _report(results, runs, given).print_and_exit(as_json=given.json)


def _runs(given: Namespace) -> list[Run]:
    from onnxopt.pipeline.target import distinct_targets

    targets = distinct_targets() if "all" in (given.target or ()) else given.target
    if given.passes or targets:
        return [Run(passes, target) for passes in given.passes or ("O3",) for target in targets or (None,)]
    return [Run("O1"), Run("O2"), *(Run("O3", target) for target in distinct_targets())]


def _work() -> None:
    warnings.simplefilter("ignore")
    asked = json.load(sys.stdin)
    runs = [Run(*run) for run in asked["runs"]]
    for case in cases({(kind, name) for kind, name in asked["cases"]}):
        print(json.dumps([case.kind, case.name]), flush=True)
        opened = symbolic(case, asked["symbolic"]) if asked["symbolic"] else case
        results = list(check(opened, runs)) if opened else []
        if opened and len(opened.data) > len(case.data):
            for result in results:
                result.facts.append("other sizes")
        print(json.dumps({"results": [asdict(result) for result in results]}), flush=True)


def _run_all(wanted: list[_Id], runs: list[Run], naming: str | None, processes: int) -> list[Result]:
    queue: SimpleQueue[list[Result] | None] = SimpleQueue()
    for start in range(processes):
        share = wanted[start::processes]
        threading.Thread(target=_supervise, args=(share, runs, naming, queue), daemon=True).start()
    results: list[Result] = []
    done, running = 0, processes
    while running:
        found = queue.get()
        if found is None:
            running -= 1
        else:
            results += found
            done += 1
            tick(f"{done} of {len(wanted)} models")
    return results


def _supervise(share: list[_Id], runs: list[Run], naming: str | None, queue: SimpleQueue[list[Result] | None]) -> None:
    """Have a child check the cases; where it dies, blame the case it was at, and start another for the rest."""
    left = dict.fromkeys(share)
    while left:
        at = next(iter(left))
        for said in _worker(list(left), runs, naming):
            if isinstance(said, list):
                queue.put(said)
                left.pop(at)
            else:
                at = said
        if at in left:
            left.pop(at)
            queue.put([Result(*at, str(run), CRASH, "the process died, or took too long") for run in runs])
    queue.put(None)


def _worker(share: list[_Id], runs: list[Run], naming: str | None) -> Iterator[_Id | list[Result]]:
    """What a child says, as it says it: the case that it starts, and then the results."""
    command = [sys.executable, __file__, "--worker"]
    asked = {"cases": share, "runs": [(run.passes, run.target) for run in runs], "symbolic": naming}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
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


def _report(results: list[Result], runs: list[Run], given: Namespace) -> Report:
    claim = f"{', '.join(map(str, runs))} on every conformance model of the onnx wheel"
    claim += f", its sizes symbols ({given.symbolic})" if given.symbolic else ""
    report = Report(2, f"{claim}: 0 wrong outputs, 0 crashes")
    verdicts = (OK, BY_REFERENCE, NOT_RUNNABLE, ALREADY_WRONG, WRONG, CRASH)
    facts = ("bit equal", "changed", "not idempotent", "beyond promise", *["other sizes"] * bool(given.symbolic))
    report.rows = [("run", "models", *verdicts, *facts, "nodes fewer")]
    of_run = {str(run): [result for result in results if result.run == str(run)] for run in runs}
    for run, found in of_run.items():
        verdict = Counter(result.verdict for result in found)
        fact = Counter(fact for result in found for fact in result.facts)
        counts = (len(found), *(verdict[name] for name in verdicts), *(fact[name] for name in facts))
        report.rows.append((run, *map(str, counts), str(sum(result.removed for result in found))))
    faults = [result for result in results if result.verdict in (WRONG, CRASH)]
    report.notes = [*_faults(faults), *_left(of_run), *_distinct(of_run)]
    kinds = Counter(result.kind for result in of_run[str(runs[0])])
    report.notes.append("models: " + ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS))
    worst = Counter(fault.verdict for fault in faults)
    report.headline = f"{worst[WRONG]} wrong, {worst[CRASH]} crashes in {kinds.total()} models, {len(runs)} runs each; "
    report.headline += f"{len({(r.kind, r.name, r.fingerprint) for r in results})} different graphs judged"
    shown = [result for result in results if result.why or result.second or result.verdict not in (OK, BY_REFERENCE)]
    report.figures = {"results": [asdict(result) for result in shown]}
    report.require("every model must be right", not faults)
    return report


def _faults(faults: list[Result]) -> Iterator[str]:
    """Each with the runs that have it."""
    runs: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for fault in faults:
        runs[fault.verdict, f"{fault.kind} {fault.name}", fault.why].append(fault.run)
    for (verdict, name, why), found in list(runs.items())[:_LISTED]:
        yield f"{verdict}  {name} ({', '.join(found)}): {why}"
    if len(runs) > _LISTED:
        yield f"and {len(runs) - _LISTED} more faults"


def _left(of_run: dict[str, list[Result]]) -> Iterator[str]:
    """What second runs still did, and what differs by more than the passes promise."""
    shown: set[str] = set()
    for run, found in of_run.items():
        left = {result.name: result.second for result in found if result.second}
        if left:
            first = Counter(second.split(":")[0] for second in left.values())
            by = ", ".join(f"{name} {count}" for name, count in first.most_common())
            new = [name for name in left if name not in shown][:_EXAMPLES]
            shown |= left.keys()
            yield f"{run}: a second run changes {len(left)} ({by})" + "".join(f"\n    {n}: {left[n]}" for n in new)
        beyond = [result for result in found if "beyond promise" in result.facts]
        yield from (f"{run}: {result.name}: {result.why}" for result in beyond[:_EXAMPLES])


def _distinct(of_run: dict[str, list[Result]]) -> Iterator[str]:
    """How many graphs each run makes that no run before it made of the same model."""
    seen: set[tuple[str, str, str]] = set()
    for run, found in of_run.items():
        made = {(result.kind, result.name, result.fingerprint) for result in found}
        if seen:
            yield f"{run}: {len(made - seen)} graphs that no run before it made"
        seen |= made


if __name__ == "__main__":
    main()
