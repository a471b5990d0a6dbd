"""Is an optimized model still the model: python benchmarks/optimizers_check.py NAME OPTIMIZED [check] [fusions].

`check`: names, order, types and declared symbolic shapes of inputs and outputs are the original's, onnx's checker
passes, and at two sizes of each dynamic dimension the outputs are equal within floating-point reassociation
(onnxopt/runtime/compare.py says how near that is), onnxruntime's optimizations off. `fusions`: the nodes that
onnxruntime makes by fusing at ORT_ENABLE_EXTENDED, by operator. A process of its own: engines may crash. Prints JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from zoo import Model, zoo

from onnxopt.data.spec import Shape, inputs_of, outputs_of
from onnxopt.runtime.compare import Tolerance, compare
from onnxopt.runtime.precision import coarsest_rounding
from onnxopt.runtime.session import NotRunnable, Session

FUSED = frozenset(
    {
        "LayerNormalization",
        "SimplifiedLayerNormalization",
        "SkipLayerNormalization",
        "RMSNormalization",
        "Gelu",
        "HardSwish",
        "HardSigmoid",
        "Mish",
        "QLinearConv",
        "QLinearMatMul",
        "MatMulInteger",
        "ConvInteger",
    }
)
"""Of ONNX's own operators, those that onnxruntime makes of several. Operators of its own domain count all."""


def problems(model: Model, optimized: Path) -> Iterator[str]:
    """What is wrong with it; nothing where it is right."""
    original = model.find()
    before, after = (onnx.load(path, load_external_data=False) for path in (original, optimized))
    for what, specs in (("inputs", inputs_of), ("outputs", outputs_of)):
        yield from _moved(what, specs(before), specs(after))
    if (reason := _checker(optimized)) and not _checker(original):
        yield f"checker: {reason}"
    rounding = max(coarsest_rounding(before), coarsest_rounding(after))
    try:
        one, other = Session(original), Session(optimized)
        for sizes in _distinct(model):
            feeds = model.feeds(sizes)
            found = compare(one.run(feeds), other.run(feeds), Tolerance.VALUES, rounding=rounding)
            yield from (f"at {_show(sizes)} {difference}" for difference in found if not difference.ok)
    except NotRunnable as error:
        yield str(error)


def _distinct(model: Model) -> list[Any]:
    one, other = model.bindings
    return [one] if one == other else [one, other]


def _show(sizes: Any) -> str:
    return "[" + " ".join(f"{name}={size}" for name, size in sizes.items()) + "]"


def _moved(what: str, before: list[Any], after: list[Any]) -> Iterator[str]:
    names, now = ([spec.name for spec in specs] for specs in (before, after))
    if names != now:
        added, gone = [name for name in now if name not in names], [name for name in names if name not in now]
        yield f"{what}: {len(added)} more, {len(gone)} fewer: {', '.join((added + gone)[:3]) or 'another order'}"
        return
    for one, other in zip(before, after, strict=True):
        if one.kind != other.kind or one.dtype != other.dtype or not _keeps(one.shape, other.shape):
            yield f"{what}: '{one.name}' was {one}, is {other}"


def _keeps(before: Shape | None, after: Shape | None) -> bool:
    """Whether every size and symbol that was declared is declared; what was left open may be told."""
    if before is None or after is None or len(before) != len(after):
        return before is None
    return all(one in (None, "?", other) for one, other in zip(before, after, strict=True))


def _checker(path: Path) -> str:
    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:  # noqa: BLE001  the checker raises what it likes
        return str(error).strip().splitlines()[0][:200]
    return ""


def fusions(optimized: Path) -> dict[str, int]:
    """By operator, the nodes that onnxruntime made by fusing; `nodes`: all that are left."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = f"{folder}/fused.onnx"
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "fused.data")
        ort.InferenceSession(str(optimized), options, providers=["CPUExecutionProvider"])
        fused = onnx.load(f"{folder}/fused.onnx", load_external_data=False)
    found: Counter[str] = Counter()
    graphs = [fused.graph]
    while graphs:
        for node in graphs.pop().node:
            found["nodes"] += 1
            if node.domain == "com.microsoft" or node.op_type in FUSED:
                found[node.op_type] += 1
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return dict(sorted(found.items()))


def main() -> None:
    """Answer what is asked."""
    name, optimized, *asked = sys.argv[1:]
    (model,) = (model for model in zoo() if model.name == name)
    answers: dict[str, Callable[[], Any]] = {
        "check": lambda: list(problems(model, Path(optimized))),
        "fusions": lambda: fusions(Path(optimized)),
    }
    print(json.dumps({what: answers[what]() for what in asked}))


if __name__ == "__main__":
    main()
