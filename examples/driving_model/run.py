"""A network that steers, pruned by 30 %, in int8, for a laptop, a Snapdragon and a TensorRT card.

    python examples/driving_model/run.py [--out DIR] [--seconds S] [--samples N] [--mlflow URI]

fixtures/steering is a MobileNetV3-like network with depthwise blocks, Squeeze-and-Excitation and HardSwish. It is
pruned, reconstructed and quantized with 256 scenes without labels, and judged on 1,000 others. Needs
onnxopt[qnn,tensorrt].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from examples.commands import (
    NOT_MEASURED,
    ROOT,
    Table,
    Workflow,
    benched,
    latencies,
    shown_accuracy,
    shown_size,
)
from onnxopt.runtime.latency import Call
from onnxopt.runtime.session import Session

sys.path.insert(0, str(ROOT / "fixtures"))
from road_scenes import scenes

HERE = Path("examples/driving_model")
STEERING = Path("fixtures/steering/steering.onnx")
CALIBRATION, EVALUATION = (256, 2), (1000, 3)
"""How many scenes, and their seed; the training had seed 1."""
SNAPDRAGON = "SM8450"
"""8 Gen 1."""
SHAPES = "camera:1x3x64x128..8x3x64x128"
BATCHES = (1, 2, 4, 8)
NAMES = ("float32", "30 % of the MACs pruned", "int8", f"DLC for {SNAPDRAGON}", "TensorRT engine, int8")


def main() -> None:
    """Run the commands, measure, tell."""
    work = Workflow.of(__file__, __doc__)
    seen, unseen = _scenes(work)
    pruned, int8, dlc, engine = (
        work.folder / f"steering.{end}" for end in ("pruned.onnx", "int8.onnx", "dlc", "engine")
    )
    data = ("--data", seen, "--no-provenance")
    work.run("run", STEERING, "--passes", HERE / "pruned.toml", *data, "-o", pruned)
    work.run("run", pruned, "--passes", "quantize", *data, "-o", int8)
    binary = f"context-binary={dlc.with_suffix('.bin')}"
    emit = f"qnn{{soc={SNAPDRAGON} {binary}}}={dlc}"
    work.run("run", pruned, "--passes", HERE / "snapdragon.toml", *data, "--emit", emit)
    emit = f"tensorrt{{precision=int8 shapes={SHAPES}}}={engine}"
    work.run("run", pruned, "--passes", "legalize-tensorrt,O2", "--target", "tensorrt", *data, "--emit", emit)
    models = [STEERING, pruned, int8]
    judged = ("--data", unseen, "--metric", "top1", "--labels", "command")
    bench = work.bench(*models, *judged, "--batch", ",".join(map(str, BATCHES)))
    emulated = work.run("verify", STEERING, dlc, *judged)
    _tell(work, models, [dlc, engine], bench, emulated)


def _scenes(work: Workflow) -> tuple[Path, Path]:
    """To calibrate on, without labels, and to judge on."""
    found = []
    for name, (count, seed) in (("calibration", CALIBRATION), ("evaluation", EVALUATION)):
        images, commands = scenes(min(count, work.samples or count), seed)
        labels = {"command": commands} if name == "evaluation" else {}
        found.append(work.store(f"{name}.npz", {"camera": images, **labels}))
    return found[0], found[1]


def _tell(work: Workflow, models: list[Path], artifacts: list[Path], bench: Any, emulated: Any) -> None:
    """What all are, and how fast the models are, by the size of the batch."""
    worth = [shown_accuracy(each["accuracy"]) for each in bench["models"]]
    worth += [f"{shown_accuracy(emulated)}, emulated"]
    precisions = json.loads(artifacts[1].with_suffix(".engine.json").read_text())["precisions"]
    worth += [f"{NOT_MEASURED}; {100 * precisions['by_precision']['int8']['share']:.0f} % of the MACs in int8"]
    stored = [shown_size(path) for path in (*models, *artifacts)]
    table = [["", "size", "right"], *map(list, zip(NAMES, stored, worth, strict=True))]
    figures = {
        "models": dict(zip(NAMES, bench["models"], strict=False)),
        "emulated": emulated,
        "precisions": precisions,
    }
    took = latencies(_calls(models), work.seconds)
    alone = [["one scene", "ms: median, p90", "times as fast"], *([name, *each] for name, each in took.items())]
    work.keep({**figures, "bench": bench, "took": took}, table, _swept(bench, len(models)), alone)


def _swept(bench: Any, count: int) -> Table:
    """By the size of the batch: milliseconds, and how many times as fast as the first."""
    took = [benched(bench, place) for place in range(len(BATCHES))]
    table = [["ms: median, p90; times as fast", *(f"batch {size}" for size in BATCHES)]]
    for place, name in enumerate(NAMES[:count]):
        table.append([name, *("; ".join(list(each.values())[place]) for each in took)])
    return table


def _calls(models: list[Path]) -> dict[str, Call]:
    """Each model on one scene; the first one also as it was exported, without onnxruntime's own optimizations."""
    images, _ = scenes(1, CALIBRATION[1])
    sessions = {"float32, not optimized": Session(models[0], optimize=False, threads=1)}
    sessions |= {name: Session(model, optimize=True, threads=1) for name, model in zip(NAMES, models, strict=False)}
    return {name: session.prepared({"camera": images}) for name, session in sessions.items()}


if __name__ == "__main__":
    main()
