"""A random forest of scikit-learn's, as a file that runs without Python.

    python examples/scikit_learn_to_edge/run.py [--out DIR] [--seconds S] [--mlflow URI]

Lowered, with fewer bytes, and dynamically quantized; then bytes, predictions on 30 flowers that it was not trained on,
and 1,000 predictions of one flower each beside scikit-learn's. Needs onnxopt[sklearn].
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import skops.io

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from examples.commands import Array, Workflow, latencies
from examples.scikit_learn_to_edge.forest import split, trained
from onnxopt.report.units import size
from onnxopt.runtime.session import session_options

NAMES = ("scikit-learn", "lowered", "compact-trees", "quantize-dynamic")
RUNS = 1000
Predict = Callable[[Array], Any]


def main() -> None:
    """Run the commands, compare, measure."""
    work = Workflow.of(__file__, __doc__)
    _, test, _, expected = split()
    held_out = work.store("held_out.npz", {"X": test, "species": expected})
    models = [work.folder / f"{name}.onnx" for name in ("forest", "compact", "int8")]
    forest, compact, quantized = models
    work.run("lower", "examples.scikit_learn_to_edge.forest:trained", "-o", forest)
    work.run("run", forest, "--passes", "compact-trees", "--data", held_out, "--verify-each", "-o", compact)
    work.run("run", compact, "--passes", "quantize-dynamic", "--data", held_out, "-o", quantized)
    judged = ("--metric", "top1", "--labels", "species")
    bench = work.bench(*models, "--data", held_out, *judged)
    _tell(work, models, bench, test)


def _tell(work: Workflow, models: list[Path], bench: Any, test: Array) -> None:
    """The table, scikit-learn in its first row."""
    classifier, _ = trained()
    predictions = dict(zip(NAMES, [classifier.predict, *map(_onnxruntime, models)], strict=True))
    expected, row = classifier.predict(test), test[:1]
    equal = {name: int(np.count_nonzero(predict(test) == expected)) for name, predict in predictions.items()}
    sizes = dict(zip(NAMES, [len(skops.io.dumps(classifier)), *(each.stat().st_size for each in models)], strict=True))
    took = latencies({name: partial(predict, row) for name, predict in predictions.items()}, 10 * work.seconds, RUNS)
    table = [["", "size", "equal predictions", "ms of one: median, p90", "times as fast"]]
    table += [[name, size(sizes[name]), f"{equal[name]}/{len(test)}", *took[name]] for name in NAMES]
    work.keep({"bytes": sizes, "equal": equal, "took": took, "bench": bench}, table)


def _onnxruntime(model: Path) -> Predict:
    """What onnxruntime predicts, on one thread."""
    options = session_options(optimize=True, threads=1)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda rows: session.run(["label"], {"X": rows})[0]


if __name__ == "__main__":
    main()
