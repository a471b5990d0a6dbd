"""A photo filter for the phone: pruned, quantized, a Core ML package, with size and PSNR after each step.

    python examples/beauty_filter/run.py [--out DIR] [--seconds S] [--samples N] [--mlflow URI]

fixtures/tinybeauty imitates a filter on 256x256 photos; calibrated on crops of training photos, judged on others. What
a phone takes is measured on a phone: kit/ has the package and the programs that do. Needs onnxopt[coreml,plot].
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from examples.commands import NOT_MEASURED, Workflow, benched, shown_accuracy
from onnxopt.report.units import size

HERE, FILTER = Path("examples/beauty_filter"), Path("fixtures/tinybeauty")
FORM = "target=iOS18 shapes=image:1x3x256x256"
NAMES = ("original", "optimized", "30 % zeros", "reconstructed", "int8", "Core ML package")


def main() -> None:
    """Run the commands, tell."""
    work = Workflow.of(__file__, __doc__)
    calibration, test = (work.few(FILTER / f"{kind}.npz") for kind in ("calibration", "test"))
    made, package, kit = (work.folder / name for name in ("filter.onnx", "filter.mlpackage", "kit"))
    judged = ("--metric", "psnr", "--eval", test, "--labels", "filtered")
    ran = work.run(
        "run", FILTER / "tinybeauty.onnx", "--passes", HERE / "pipeline.toml", "--data", calibration, *judged,
        "-o", made, "--emit", f"coreml{{{FORM} samples=2}}={package}",
        "--stages", "--plot", work.folder / "stages.png", *work.logged,
    )  # fmt: skip
    kept = ("--data", calibration, "--passes", "omit-defaults", "--target", "coreml")
    work.run("run", made, *kept, "--emit", f"coreml-kit{{{FORM} samples=1}}={kit}")
    stages = ran["stages"]
    table = [["", "size", "PSNR", "ms in onnxruntime: median, p90", "times as fast", "on a phone"]]
    for name, each, took in zip(NAMES, stages["models"], benched(stages).values(), strict=True):
        table.append([name, size(each["bytes"]), shown_accuracy(each["accuracy"]), *took, NOT_MEASURED])
    work.keep({"models": dict(zip(NAMES, stages["models"], strict=True)), "stages": stages}, table)
    print(f"on a phone: run {kit}/measure.py on a Mac, or Measure.swift on an iPhone")


if __name__ == "__main__":
    main()
