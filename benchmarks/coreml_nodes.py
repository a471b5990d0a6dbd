"""Node models as Core ML packages, read back and evaluated: at least 800 of those with static shapes equal, none wrong.

    python benchmarks/coreml_nodes.py [--target iOS18] [--only REGEX [--merge]] [--processes 2] [--json]

Every node model of the `onnx` wheel whose inputs and outputs are tensors of fixed shapes is lowered in float32, written
as a package, read back from the disk, and evaluated on the given inputs. `equal`: the given outputs, to the tolerance
of the model. `refused`: nothing was written, and a reason was given. `not evaluable`: a package was written that the
evaluator has no way to run. `WRONG`: it ran, and the outputs are others. `CRASHED`: an exception that is no refusal.
Inputs that are constant in models in use (node_parameters.py) are initializers here.

onnx2coreml 1.1.0 on the same models, as measured before: 468 equal, 38 silently wrong.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

from conformance_cases import cases, names
from coreml_node_worker import CRASHED, EQUAL, NOT_EVALUABLE, REFUSED, WRONG, Job, Outcome, prepare, work
from node_parameters import with_parameters
from onnx import ModelProto, TensorProto, ValueInfoProto
from reporting import Report, aligned, arguments, tick

RESULTS = Path(__file__).parent / "results"
_WANTED = 800
_PEER = {"onnx2coreml 1.1.0": (468, 38)}
_CHUNK = 16
_MOST_REASONS = 8
_NAME = re.compile("'[^']*'")
_PLAIN = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL}
"""Element types of the models that the peer was measured on: about 988 of an older `onnx`."""


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--target", default="iOS18")
    parser.add_argument("--only", default="", metavar="REGEX", help="models whose name this is found in")
    parser.add_argument(
        "--merge", action="store_true", help="into what is kept of the last whole run, then report that"
    )
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    start = time.perf_counter()
    jobs = sorted(_jobs(given.target, given.only), key=lambda job: not job.plain)
    outcomes = []
    for outcome in _worked(jobs, given.processes):
        outcomes.append(outcome)
        if outcome.verdict in (WRONG, CRASHED, NOT_EVALUABLE):
            print(f"{outcome.verdict} {outcome.name}: {outcome.why}", file=sys.stderr, flush=True)
    again = len(outcomes)
    plain = {job.name for job in jobs if job.plain}
    if given.merge:
        outcomes, plain = _merged(outcomes, plain)
    report = _report(outcomes, plain, given.target)
    of = f" for {again} of them, run again" if given.merge else ""
    report.notes.append(f"{time.perf_counter() - start:.0f} s{of}, {given.processes} processes")
    if not given.only or given.merge:
        _keep(report)
    report.print_and_exit(as_json=given.json)


def _merged(outcomes: list[Outcome], plain: set[str]) -> tuple[list[Outcome], set[str]]:
    """What the last whole run found, with these in the place of those of the same names."""
    figures = json.loads((RESULTS / "coreml_nodes.json").read_text())["figures"]
    found = {each["name"]: Outcome(**each) for each in figures["outcomes"]}
    found.update({outcome.name: outcome for outcome in outcomes})
    return list(found.values()), plain | set(figures["plain"])


def _jobs(target: str, only: str) -> Iterator[Job]:
    wanted = {name for name in names() if name[0] == "node" and re.search(only, name[1])}
    for case in cases(wanted):
        if all(_is_fixed(info) for info in (*case.model.graph.input, *case.model.graph.output)):
            feeds, expected = case.data[0]
            model, feeds = with_parameters(case.model, feeds)
            plain, op = _is_plain(case.model), _operator(case.model)
            yield Job(case.name, op, model, feeds, expected, case.rtol, case.atol, target, plain)


def _is_fixed(info: ValueInfoProto) -> bool:
    tensor = info.type.tensor_type
    if info.type.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
        return False
    return all(dim.HasField("dim_value") for dim in tensor.shape.dim)


def _is_plain(model: ModelProto) -> bool:
    """One node of the default domain, on the usual element types."""
    types = {info.type.tensor_type.elem_type for info in (*model.graph.input, *model.graph.output)}
    return len(model.graph.node) == 1 and model.graph.node[0].domain in ("", "ai.onnx") and types <= _PLAIN


def _operator(model: ModelProto) -> str:
    """Of a model of one node its operator, of an expanded function the function's nodes."""
    kinds = sorted({node.op_type for node in model.graph.node})
    return kinds[0] if len(kinds) == 1 else "several"


def _worked(jobs: Sequence[Job], processes: int) -> Iterator[Outcome]:
    chunks = [list(jobs[first : first + _CHUNK]) for first in range(0, len(jobs), _CHUNK)]
    done = 0
    while chunks:
        broken: list[list[Job]] = []
        with _pool(processes) as pool:
            for chunk, future in [(chunk, pool.submit(work, chunk)) for chunk in chunks]:
                try:
                    found = future.result()
                except BrokenProcessPool:
                    broken.append(chunk)
                    continue
                yield from found
                done += len(chunk)
                tick(f"{done} of {len(jobs)}")
        chunks = broken[1:]
        for job in broken[0] if broken else ():
            yield from _alone(job)


def _alone(job: Job) -> list[Outcome]:
    with _pool(1) as pool:
        try:
            return pool.submit(work, [job]).result()
        except BrokenProcessPool:
            return [Outcome(job.name, job.op, CRASHED, "the process died")]


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=prepare)


def _report(outcomes: list[Outcome], plain: set[str], target: str) -> Report:
    report = Report(1, f"node models as packages for {target}: at least {_WANTED} equal, none wrong")
    verdicts = (EQUAL, REFUSED, NOT_EVALUABLE, WRONG, CRASHED)
    counts = Counter(outcome.verdict for outcome in outcomes)
    usual = Counter(outcome.verdict for outcome in outcomes if outcome.name in plain)
    report.rows = [("", "models", *verdicts)]
    for title, found in (("onnxopt, one node, usual types", usual), ("onnxopt, all of fixed shapes", counts)):
        report.rows.append((title, str(found.total()), *(str(found[verdict]) for verdict in verdicts)))
    for peer, (equal, wrong) in _PEER.items():
        report.rows.append((peer, "988", str(equal), "", "", str(wrong), ""))
    for verdict in (WRONG, CRASHED):
        report.notes += [f"{verdict} {each.name}: {each.why}" for each in outcomes if each.verdict == verdict]
    report.notes += _reasons(outcomes)
    report.headline = f"{usual[EQUAL]} of {usual.total()} equal; of all {len(outcomes)}, {counts[WRONG]} wrong, "
    report.headline += f"{counts[CRASHED]} crashed"
    report.figures = {
        "counts": dict(counts),
        "plain": sorted(plain),
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }
    report.require(f"{_WANTED} must be equal", usual[EQUAL] >= _WANTED)
    report.require("none may be wrong", not counts[WRONG])
    report.require("none may crash", not counts[CRASHED])
    return report


def _reasons(outcomes: list[Outcome]) -> Iterator[str]:
    """What is refused or not evaluable, by operator; what is so for its inputs or outputs, together."""
    left: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.verdict in (REFUSED, NOT_EVALUABLE):
            blamed = "models" if outcome.blamed == outcome.name else outcome.blamed or outcome.op
            left[outcome.verdict, blamed].append(_NAME.sub("'...'", outcome.why))
    for (verdict, op), found in sorted(left.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1])):
        reasons = Counter(found).most_common(_MOST_REASONS)
        yield f"{verdict} {len(found)} {op}: " + "; ".join(f"{count} x {why[:140]}" for why, count in reasons)


def _keep(report: Report) -> None:
    """Write what a whole run found where it is kept."""
    head = ", ".join(f"{name} {version(name)}" for name in ("onnx", "onnxruntime", "coremltools"))
    verdict = f"{'holds' if report.holds else 'DOES NOT HOLD'}: {report.headline}"
    lines = [head, "", report.claim, "", aligned(report.rows), *report.notes, "", verdict]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "coreml_nodes.txt").write_text("\n".join(lines) + "\n")
    (RESULTS / "coreml_nodes.json").write_text(json.dumps({"versions": head, **asdict(report)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
