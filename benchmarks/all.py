"""Everything that the compiler must show, one script after the other, and a table of what they found.

    python benchmarks/all.py [--only TEXT] [--json]

Over two hours, most of it for the peers on the largest models; 15 GB of disk for a while; the torch models of the zoo
have to be exported before (benchmarks/README.md). Exit status 1 where a point does not hold. Each script prints more
when it is run by itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from reporting import arguments

SCRIPTS = (
    "round_trip",
    "conformance",
    "real_model_runs",
    "growth",
    "external_weights",
    "planted_fault",
    "startup",
    "reduce",
    "conformance_zoo",
    "optimizers",
    "quantization",
    "quantization_recovery",
    "calibration",
    "conformance_quantizing",
    "pruning",
    "pruning_channels",
    "trees",
    "frontends",
    "inspector",
    "qnn",
    "qnn_nodes",
    "qnn_kit",
    "coreml",
)
"""In the order of the points that they show."""


def main() -> None:
    """Run all and print the summary."""
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="scripts whose name contains this")
    given = parser.parse_args()
    found = []
    for script in SCRIPTS:
        if given.only in script:
            found.append(_run(script))
            if not given.json:
                _print(found[-1])
    if given.json:
        print(json.dumps(found, indent=2))
    sys.exit(not all(report["holds"] for report in found))


def _run(script: str) -> dict[str, Any]:
    start = time.perf_counter()
    command = [sys.executable, str(Path(__file__).with_name(f"{script}.py")), "--json"]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    try:
        report: dict[str, Any] = json.loads(finished.stdout)
    except json.JSONDecodeError:  # it ended early, and said why on stderr
        report = {"point": "?", "claim": script, "holds": False, "headline": f"ended with {finished.returncode}"}
    return {"script": script, "seconds": time.perf_counter() - start, **report}


def _print(report: dict[str, Any]) -> None:
    mark = "holds" if report["holds"] else "DOES NOT HOLD"
    print(f"{report['point']}. {report['claim']}\n   {mark}: {report['headline']}")
    for note in report.get("notes", []):
        if "DOES NOT HOLD" in note and not report["holds"]:
            print(f"   {note}")
    print(f"   benchmarks/{report['script']}.py, {report['seconds']:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
