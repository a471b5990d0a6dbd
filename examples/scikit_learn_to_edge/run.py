"""A random forest of scikit-learn's, as a file that runs without Python.

    python examples/scikit_learn_to_edge/run.py [--out DIR] [--seconds S] [--mlflow URI]

Lowered, with fewer bytes, and dynamically quantized; then bytes, predictions on 30 flowers that it was not trained on,
and 1,000 predictions of one flower each beside scikit-learn's. Needs onnxopt[sklearn].
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import skops.io

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from examples.commands import Workflow  # noqa: E402
from examples.scikit_learn_to_edge.forest import Array, split, trained  # noqa: E402
from onnxopt.report.units import size  # noqa: E402
from onnxopt.runtime.latency import interleaved, ratios  # noqa: E402
from onnxopt.runtime.session import session_options  # noqa: E402

RUNS = 1000
Predict = Callable[[Array], Any]


def main() -> None:
    """Run the commands, compare, measure."""
    work = Workflow.of(__file__, __doc__)
    _, test, _, expected = split()
    held_out = work.folder / "held_out.npz"
    np.savez(held_out, X=test, species=expected)
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
    predictions = [classifier.predict, *map(_onnxruntime, models)]
    first = classifier.predict(test)
    equal = [int(np.count_nonzero(predict(test) == first)) for predict in predictions]
    row = test[:1]
    calls = [[lambda predict=predict: predict(row)] for predict in predictions]
    timed = interleaved(calls, RUNS, work.seconds)
    sizes = [len(skops.io.dumps(classifier)), *(model.stat().st_size for model in models)]
    table = [["", "bytes", "equal predictions", "ms: median, p90", "scikit-learn takes"]]
    names = ("scikit-learn", "lowered", "compact-trees", "quantize-dynamic")
    for place, (name, ratio) in enumerate(zip(names, ratios(timed), strict=True)):
        low, high = ratio.interval
        longer = f"{1 / ratio.median:.0f} times as long ({1 / high:.0f}..{1 / low:.0f})" if place else ""
        took = f"{timed[place].percentile(50) * 1e3:.3g}, {timed[place].percentile(90) * 1e3:.3g}"
        table.append([name, size(sizes[place]), f"{equal[place]}/{len(test)}", took, longer])
    figures = {"equal": dict(zip(names, equal, strict=True)), "bench": bench, "runs": len(timed[0].runs)}
    work.keep(table, figures)


def _onnxruntime(model: Path) -> Predict:
    """What onnxruntime predicts, on one thread."""
    options = session_options(optimize=True, threads=1)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda rows: session.run(["label"], {"X": rows})[0]


if __name__ == "__main__":
    main()
