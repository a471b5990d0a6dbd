"""Node models through TensorRT's builder, as they are and after `legalize-tensorrt`: at least 850 of 1,333 build.

    python benchmarks/tensorrt_nodes.py [--only TEXT] [--processes 2] [--json]

Every node model that counts (tensorrt_node_models.py says which; inputs that models in use have as constants are
initializers, node_parameters.py) goes through the parser and builder of TensorRT-RTX alone, and, after the pipeline,
through all that the backend checks. `built`: there is an engine. `hazard`: the backend refuses it by name, since the
engine would silently be another one. `refused`: by the parser or builder. `garbage`: onnx's checker and strict shape
inference refuse it, as they do with two of these very models. Numbers of the engine take a GPU: what the pipeline made
must give the given outputs in onnxruntime or onnx's reference evaluator, and is a FAULT of ours else. Then garbage is
given to both, and what accepts it counted.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context

import onnx
from onnx import ModelProto, TensorProto
from reporting import Report, arguments, keep, tick
from tensorrt_node_builds import BUILT, CRASHED, GARBAGE, HAZARD, REFUSED, UNBUILT, Job, build_all
from tensorrt_node_models import PASSES, Legalized, legalized, node_models

_WANTED, _SAMPLE = 850, 1333
_FAULT = "FAULT"
_NAMELESS = ("the graph", "the model")
_EVERY = 30
"""So many of the models are spoiled."""


@dataclass(frozen=True)
class Outcome:
    """What became of one node model, both ways."""

    name: str
    op: str
    plain: str
    legalized: str
    why: str
    where: tuple[str, ...]
    """What the error of the legalized one names."""
    refusals: tuple[str, ...]
    changed: bool


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="models whose name contains this")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    start = time.perf_counter()
    with ProcessPoolExecutor(given.processes, get_context("spawn")) as pool:
        models = list(_ticked(pool.map(legalized, node_models(given.only), chunksize=8), "legalized"))
    outcomes = list(_outcomes(models, given.processes))
    report = _report(outcomes)
    _report_garbage(report, list(_spoiled(models)), given.processes)
    report.notes.append(f"{time.perf_counter() - start:.0f} s, {given.processes} processes")
    if not given.only:
        versions = f"tensorrt-rtx-cu12 {version('tensorrt-rtx-cu12')}, onnx {onnx.__version__}"
        keep(report, versions, "tensorrt_nodes")
    report.print_and_exit(as_json=given.json)


def _outcomes(models: list[Legalized], processes: int) -> Iterator[Outcome]:
    """Each model built as it is, by TensorRT alone, and legalized, as the backend does it."""
    alone = [Job(each.plain.SerializeToString(), each.shapes, checked=False) for each in models]
    after = [Job((each.model or each.plain).SerializeToString(), each.shapes) for each in models]
    plain = list(_ticked(build_all(alone, processes), "built as they are"))
    checked = list(_ticked(build_all(after, processes), "built, legalized"))
    for model, before, now in zip(models, plain, checked, strict=True):
        verdict, why = (_FAULT, model.fault) if model.fault else (now.what, now.why)
        changed = model.model is not None
        yield Outcome(model.name, model.op, before.what, verdict, why, now.where, model.refusals, changed)


def _ticked(found: Iterator, what: str) -> Iterator:  # type: ignore[type-arg]
    for index, each in enumerate(found):
        tick(f"{what}: {index + 1}")
        yield each


def _report(outcomes: list[Outcome]) -> Report:
    report = Report(3, f"node models that TensorRT-RTX builds: at least {_WANTED} of {_SAMPLE} after {PASSES}")
    verdicts = (BUILT, HAZARD, REFUSED, GARBAGE, CRASHED, _FAULT)
    plain, after = (Counter(str(getattr(each, way)) for each in outcomes) for way in ("plain", "legalized"))
    report.rows = [("model", "models", *verdicts)]
    for title, counts in (("as it is, by TensorRT alone", plain), (PASSES, after)):
        report.rows.append((title, str(len(outcomes)), *(str(counts[each]) for each in verdicts)))
    lost = [each for each in outcomes if each.plain == BUILT and each.legalized in (REFUSED, CRASHED, _FAULT)]
    nameless = [each for each in outcomes if each.legalized == REFUSED and not _is_named(each)]
    report.notes = list(_left(outcomes))
    report.notes += [f"LOST {each.name}: {each.legalized}: {each.why}" for each in lost]
    report.notes += [f"NOT NAMED {each.name}: {', '.join(each.where)}: {each.why}" for each in nameless]
    report.headline = f"{after[BUILT]} of {len(outcomes)} build, {plain[BUILT]} as they are; {after[_FAULT]} faults"
    report.figures = {"outcomes": [asdict(each) for each in outcomes]}
    report.require(f"{_WANTED} of {_SAMPLE} must build", after[BUILT] * _SAMPLE >= _WANTED * len(outcomes))
    report.require("what the pipeline makes must give the given outputs", not after[_FAULT])
    report.require("what was built must be built", not lost)
    report.require("an error must name the node", not nameless)
    return report


def _is_named(outcome: Outcome) -> bool:
    """Whether the error names a node, or the tensor whose type there is not."""
    return bool(outcome.where) and not set(outcome.where) & set(_NAMELESS)


def _left(outcomes: list[Outcome]) -> Iterator[str]:
    """What is not built, by operator."""
    left: defaultdict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for each in outcomes:
        if each.legalized != BUILT:
            left[each.op, each.legalized].append(each)
    for (op, verdict), found in sorted(left.items()):
        yield f"{op}: {len(found)} {verdict}: {found[0].where[:1]} {' '.join(found[0].why.split())[:140]}"


def _spoiled(models: list[Legalized]) -> Iterator[tuple[str, bytes]]:
    """What is no model, by kind."""
    dice = random.Random(0)
    yield "an empty file", b""
    yield "text", b"no model at all\n" * 20
    for each in models[::_EVERY]:
        data = each.plain.SerializeToString()
        yield "random bytes", dice.randbytes(len(data))
        yield "half of a model", data[: len(data) // 2]
        for kind, spoil in (
            ("an operator that there is not", _unknown),
            ("an input that there is not", _undefined),
            ("an output of another type", _mistyped),
            ("no version of the operators", _versionless),
        ):
            model = ModelProto()
            model.CopyFrom(each.plain)
            spoil(model)
            yield kind, model.SerializeToString()


def _unknown(model: ModelProto) -> None:
    model.graph.node[0].op_type = "Nonsense"


def _undefined(model: ModelProto) -> None:
    model.graph.node[0].input.insert(0, "nobody")


def _mistyped(model: ModelProto) -> None:
    given = model.graph.output[0].type.tensor_type
    given.elem_type = TensorProto.BOOL if given.elem_type != TensorProto.BOOL else TensorProto.INT64


def _versionless(model: ModelProto) -> None:
    del model.opset_import[:]


def _report_garbage(report: Report, spoiled: list[tuple[str, bytes]], processes: int) -> None:
    alone, ours = (
        list(build_all([Job(data, checked=checked) for _, data in spoiled], processes)) for checked in (False, True)
    )
    parsed = Counter(
        kind for (kind, _), each in zip(spoiled, alone, strict=True) if each.what == BUILT or each.why == UNBUILT
    )
    built = Counter(kind for (kind, _), each in zip(spoiled, alone, strict=True) if each.what == BUILT)
    accepted = Counter(kind for (kind, _), each in zip(spoiled, ours, strict=True) if each.what == BUILT)
    report.notes.append(f"garbage, {len(spoiled)} pieces: TensorRT alone parses {_counted(parsed)}")
    report.notes.append(f"and builds {_counted(built)}; the backend builds {_counted(accepted)}")
    counts = {"parsed": dict(parsed), "built": dict(built), "accepted": dict(accepted)}
    report.figures["garbage"] = {"pieces": len(spoiled), **counts}
    report.headline += f"; of {len(spoiled)} pieces of garbage {sum(accepted.values())} accepted"
    report.require("no garbage may be accepted", not accepted)


def _counted(found: Counter[str]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.most_common())
    return f"{sum(found.values())} ({kinds})" if found else "none"


if __name__ == "__main__":
    main()
