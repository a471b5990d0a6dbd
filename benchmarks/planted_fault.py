"""Planted faults are found, and a killed save leaves the previous file whole.

    python benchmarks/planted_fault.py [--rounds 100] [--json]

Two plug-ins are loaded into `onnxopt bisect` on digits_mobilenet. One makes a harmless rewrite of every Relu6 and loses
the bias of a single Conv among them: bisect must name that rewrite. The other spoils a weight without asking
`ctx.allow`: bisect must name the pass, and say that no rewrite of it is to blame. Then a process that saves one model
over another, with weights inside and beside it, is killed with SIGKILL: at random moments, and before each single file
operation of a save. What stands there afterwards must be one of the two models, whole.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from killed_saves import Killed, at_every_operation, at_random
from measuring import FIXTURES, ONNXOPT, run_measured
from reporting import Report, arguments, tick

MODEL = FIXTURES / "digits_mobilenet" / "digits_mobilenet.onnx"
DATA = FIXTURES / "digits_mobilenet" / "calibration.npz"
PLUGINS = Path(__file__).parent / "plugins"
_FAULTY_CONV = 7
"""The number, from 1, of the Conv whose bias the plug-in loses."""


def main() -> None:
    """Run all and report."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="kills at random moments, of each kind of save")
    given = parser.parse_args()
    report = Report(6, "a planted fault is found down to the rewrite; SIGKILL during a save leaves the old file whole")
    report.rows = [("what", "expected", "found", "with")]
    _bisected(report)
    _killed(report, given.rounds)
    (_, _, rewrite, runs), (_, _, silent, _), *_ = report.rows[1:]
    report.headline = f"bisect names {rewrite}, in {runs}, and {silent}; "
    kills = [killed for name, killed in report.figures.items() if name.startswith("kills")]
    whole = sum(killed["kills"] - len(killed["spoilt"]) for killed in kills)
    report.headline += f"{whole} of {sum(killed['kills'] for killed in kills)} kills leave a whole file"
    report.print_and_exit(as_json=given.json)


def _bisected(report: Report) -> None:
    passes = f"fold-constants,fuse-conv-bn,planted-fault{{faulty={_FAULTY_CONV}}},eliminate-dead-nodes"
    number, rewrite = _expected(passes)
    tick("bisecting to the rewrite")
    found = _bisect(passes, PLUGINS / "loses_a_bias.py")
    culprit = found["culprit"] or {}
    same = culprit.get("number") == number and culprit.get("rewrite") == rewrite
    same &= str(culprit.get("pass", "")).startswith("planted-fault") and culprit.get("index") == 3
    report.rows.append(("fault in a rewrite", f"number {number}", _named(culprit), f"{found.get('runs')} runs"))
    report.require(f"bisect names {culprit} instead of rewrite {number}, {rewrite}", same)

    tick("bisecting to the pass")
    found = _bisect("fold-constants,silent-fault,eliminate-dead-nodes", PLUGINS / "asks_nobody.py")
    culprit = found["culprit"] or {}
    right = culprit.get("pass") == "silent-fault" and culprit.get("rewrite") is None
    runs = f"{found.get('runs')} runs"
    report.rows.append(("fault without asking", "silent-fault, no rewrite", _named(culprit), runs))
    report.require(f"bisect names {culprit} instead of the pass silent-fault and no rewrite", right)
    report.figures["reason"] = found.get("reason")


def _bisect(passes: str, plugin: Path) -> dict[str, Any]:
    command = [*ONNXOPT, "bisect", MODEL, "--passes", passes, "--plugin", plugin, "--data", DATA, "--json"]
    found: dict[str, Any] = json.loads(run_measured(command).require_success().stdout)
    return found


def _expected(passes: str) -> tuple[int, dict[str, str]]:
    """The faulty rewrite, by what the plug-in itself says when it runs unchecked."""
    import onnxopt

    done = onnxopt.run(MODEL, passes, plugins=[PLUGINS / "loses_a_bias.py"]).context.rewrites
    numbers = [number for number, rewrite in enumerate(done, 1) if rewrite.pass_name == "planted-fault"]
    number = numbers[_FAULTY_CONV - 1]
    return number, vars(done[number - 1])


def _named(culprit: dict[str, Any]) -> str:
    rewrite = culprit.get("rewrite")
    what = f"number {culprit['number']} at {rewrite['where']}" if rewrite else "no rewrite"
    return f"{culprit.get('pass')}, {what}"


def _killed(report: Report, rounds: int) -> None:
    for external in (False, True):
        weights = "weights beside" if external else "weights inside"
        tick(f"killing saves, {weights}")
        with tempfile.TemporaryDirectory() as folder:
            _count(report, f"kills at random, {weights}", at_random(Path(folder), rounds, external=external))
        with tempfile.TemporaryDirectory() as folder:
            _count(report, f"kills at each operation, {weights}", at_every_operation(Path(folder), external=external))


def _count(report: Report, what: str, killed: Killed) -> None:
    whole = f"{killed.kills - len(killed.spoilt)} of {killed.kills} whole"
    strays = (
        f"left {killed.hidden} temporary files, {killed.orphans} unused data files, {killed.left} after four more saves"
    )
    report.rows.append((what, "all whole", whole, strays))
    report.figures[what] = vars(killed)
    report.require(f"{what}: {killed.spoilt[:3]}", not killed.spoilt)
    report.require(f"{what}: {killed.left} files are left after four more saves", not killed.left)


if __name__ == "__main__":
    main()
