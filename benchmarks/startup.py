"""What `onnxopt --help` costs, against `python -c "import numpy"`: at most 3 times as much.

    python benchmarks/startup.py [--rounds 15] [--json]

Both are started alternately; the ratio is taken round by round. The compiled bytecode and the files are in the caches,
as they are for a user's second command.
"""

from __future__ import annotations

import sys

from measuring import ONNXOPT, interleaved, ratio, run_measured
from reporting import Report, arguments, tick

MOST = 3.0
COMMANDS = {
    "onnxopt --help": [*ONNXOPT, "--help"],
    'python -c "import numpy"': [sys.executable, "-c", "import numpy"],
    "python -c pass": [sys.executable, "-c", "pass"],
}


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    tasks = {
        name: lambda command=command: run_measured(command).require_success().seconds
        for name, command in COMMANDS.items()
    }
    interleaved(tasks, 2)  # into the caches
    found = interleaved(tasks, given.rounds, tick)
    ours, numpy = list(found.values())[:2]
    times = ratio(ours, numpy)
    report = Report(7, f'`onnxopt --help` costs at most {MOST:g} times `python -c "import numpy"`')
    report.rows = [("command", "ms (lowest..highest)", "times numpy")]
    for name, spread in found.items():
        thousandths = type(spread)(tuple(1000 * value for value in spread.values))
        report.rows.append((name, thousandths.show("", 0), ratio(spread, numpy).show("", 2)))
    report.headline = f"{times.show('times', 2)} over {given.rounds} rounds"
    report.figures = {name: spread.to_json() for name, spread in found.items()}
    report.require(f"the median ratio {times.median:.2f} is over {MOST:g}", times.median <= MOST)
    report.print_and_exit(as_json=given.json)


if __name__ == "__main__":
    main()
