"""What each pass that brings accuracy back is worth, alone and together, on the models of quantization.py.

    python benchmarks/quantization_recovery.py [--models TEXT,...] [--json]

Int8 for onnxruntime, its optimizations off, on data that nothing was calibrated on: what is lost of the model's own
metric, and the signal-to-noise ratio of the outputs against the float model's. A pass has to raise that ratio on at
least one model, or it is of no use; `smooth` looks for normalizations before MatMuls, which none of these models has.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from quantization_runs import Variant, int8
from quantization_subjects import RealModelUnavailable, Subject, subjects
from reporting import Report, arguments, tick

_FLOAT = "convert-opset{opset=17},O3"
PIPELINES = {
    "quantize": "quantize",
    "mse": "quantize{method=mse}",
    "equalize": "equalize,quantize",
    "round-weights": "round-weights,quantize",
    "correct-bias": "quantize,correct-bias",
    "all three": "equalize,round-weights,quantize,correct-bias",
    "Adds in float": "quantize{keep-float=Add}",
    "... and all three": "equalize,round-weights{keep-float=Add},quantize{keep-float=Add},correct-bias",
}
_PLAIN, _JUDGED = "quantize", ("equalize", "round-weights", "correct-bias")


def main() -> None:
    """Make them all, and print one table."""
    parser = arguments(__doc__)
    parser.add_argument("--models", default="", metavar="TEXT,...", help="models whose names contain one of these")
    given = parser.parse_args()
    report = Report(0, "each pass that brings accuracy back raises the SNR of a model on data it has not seen")
    report.rows.append(("model", "pipeline", "lost", "SNR dB"))
    gained = dict.fromkeys(_JUDGED, 0)
    for subject in subjects():
        if any(text in subject.name for text in given.models.split(",")):
            try:
                ratios = _one(subject, report)
            except RealModelUnavailable as missing:
                report.require(f"{subject.name}: {missing}", False)
                continue
            for name in _JUDGED:
                gained[name] += ratios.get(name, 0.0) > ratios.get(_PLAIN, float("inf"))
    for name, models in gained.items():
        report.require(f"{name} raises no model's SNR", models > 0)
    report.headline = ", ".join(f"{name} gains on {models} models" for name, models in gained.items())
    report.print_and_exit(as_json=given.json)


def _one(subject: Subject, report: Report) -> dict[str, float]:
    """The signal-to-noise ratio by pipeline, dB."""
    original = Variant("float", subject, subject.find_model())
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, passes in PIPELINES.items():
            tick(f"{subject.name}: {name}")
            found = int8(subject, f"{_FLOAT},{passes}", "onnx", Path(folder))
            found.run()
            if found.error:
                report.require(f"{subject.name}, {name}: {found.error}", False)
                continue
            lost = original.plain.mean - found.plain.mean
            ratios[name] = found.plain.noise(original.plain)
            report.rows.append((subject.name, name, f"{lost:.3f} {subject.unit}", f"{ratios[name]:.2f}"))
    return ratios


if __name__ == "__main__":
    main()
