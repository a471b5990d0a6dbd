"""Every model of the zoo through `-O 3 --verify-each`: after each pass that changed something, all is still right.

    python benchmarks/conformance_zoo.py [--passes O3] [--target qnn] [--only TEXT] [--json]

Right means what `onnxopt run --verify-each` means by it (pipeline/instruments/verify.py): onnx's checker, inputs and
outputs declared as before, outputs equal as far as the pass promises, onnxruntime's optimizations off; at both sizes of
each dynamic dimension that zoo.py gives. A process for each model. The 2.4 GB one takes minutes, and is left out unless
`--only` names it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from reporting import Report, arguments, tick
from zoo import Feeds, MissingModel, Model, zoo

_LARGEST = "heavy"


@dataclass(frozen=True)
class _BothSizes:
    """What `Verify` asks of a data set: each of the inputs of a model of the zoo as a batch."""

    model: Model
    source: str = "both sizes"

    def take(self, count: int) -> _BothSizes:
        return self

    def batches(self) -> Iterator[Feeds]:
        one, other = self.model.bindings
        yield self.model.feeds(one)
        if one != other:
            yield self.model.feeds(other)


def main() -> None:
    """Run all and report."""
    parser = arguments(__doc__)
    parser.add_argument("--passes", default="O3", help="the pipeline")
    parser.add_argument("--target", help="the target that graphs are prepared for")
    parser.add_argument("--only", default="", metavar="TEXT", help="models whose name contains this")
    parser.add_argument("--model", help="(internal) verify this one here, and print JSON")
    given = parser.parse_args()
    if given.model:
        (model,) = (model for model in zoo() if model.name == given.model)
        print(json.dumps(_verified(model, given.passes, given.target)))
        return
    chosen = [m for m in zoo() if given.only in m.name and (m.name != _LARGEST or given.only == _LARGEST)]
    passes = given.passes + (f" for {given.target}" if given.target else "")
    report = Report(9, f"{passes} --verify-each on every model of the zoo: 0 failures")
    report.rows = [("model", "nodes", "then", "passes", "verified", "seconds", "of passes", "slowest pass")]
    failed = 0
    for model in chosen:
        tick(model.name)
        found = _child(model, given.passes, given.target)
        if "missing" in found:
            report.notes.append(f"left out  {found['missing']}")
        elif "failure" in found:
            failed += 1
            report.notes.append(f"FAILS  {model.name}: {found['failure']}")
        else:
            report.rows.append((model.name, *found["row"]))
            report.figures[model.name] = found["passes"]
    right = len(report.rows) - 1
    report.headline = f"{right} models right after every pass, {failed} not; {len(chosen) - right - failed} left out"
    report.require("every pass must leave every model right", bool(right) and not failed)
    report.print_and_exit(as_json=given.json)


def _child(model: Model, passes: str, target: str | None) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__)), "--model", model.name, "--passes", passes]
    command += ["--target", target] if target else []
    finished = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if finished.returncode:
        return {"failure": f"the process ended with {finished.returncode}"}
    said: dict[str, Any] = json.loads(finished.stdout)
    return said


def _verified(model: Model, passes: str, target: str | None) -> dict[str, Any]:
    from onnxopt import ir
    from onnxopt.api import RunRequest
    from onnxopt.data import DataSet
    from onnxopt.pipeline.instruments.verify import Verify
    from onnxopt.pipeline.recipe import Recipe
    from onnxopt.pipeline.source import Source

    try:
        source = Source.of(str(model.find()))
    except MissingModel as missing:
        return {"missing": str(missing)}
    verify = Verify(cast(DataSet, _BothSizes(model)))
    request = RunRequest(source, Recipe.of(passes, []).pipeline, target=target, verify=verify)
    start = time.perf_counter()
    try:
        done = request.run()
    except Exception as error:  # noqa: BLE001  any is a failure, to be listed
        return {"failure": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}
    seconds = time.perf_counter() - start
    nodes = sum(len(scope.nodes) for scope in ir.every_graph(done.graph))
    slowest = max(done.runs, key=lambda run: run.seconds)
    counts = (done.nodes_before, nodes, len(done.runs), len(done.verified))
    times = (f"{seconds:.1f}", f"{sum(run.seconds for run in done.runs):.2f}")
    row = (*map(str, counts), *times, f"{slowest.name} {slowest.seconds:.2f}")
    return {"row": row, "passes": [(run.text, run.changed, run.seconds) for run in done.runs]}


if __name__ == "__main__":
    main()
