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
    report.rows = [("what", "expected", "found", "how")]
    _bisected(report)
    _killed(report, given.rounds)
    report.headline = "; ".join(f"{what}: {found}" for what, _, found, _ in report.rows[1:])
    report.print_and_exit(as_json=given.json)
'''
