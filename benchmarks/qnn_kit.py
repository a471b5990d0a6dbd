"""The kit for Qualcomm's SDK: its samples read back as they went in, and its script's dry run prints each command.

Its encodings on its float model, by the format's formula, are also set beside the quantized model that they are of.

Nothing here runs Qualcomm's SDK, and nothing says how fast a device is.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from qnn_commands import Commands, said
from qnn_kit_encodings import Array, applied
from quantization_subjects import Subject, subjects
from reporting import Report, arguments

from onnxopt.data import inputs_of, open_data
from onnxopt.data.layout import Sample

MODELS = ("digits_mobilenet", "tinybeauty")
LAYOUTS = ("nhwc", "nchw")
FLOWS = {
    "snpe": ("snpe-onnx-to-dlc", "snpe-dlc-quantize", "adb push", "snpe-net-run", "snpe-diagview"),
    "qairt": ("qairt-converter", "qairt-quantizer", "adb push", "qnn-net-run", "qnn-profile-viewer"),
}
"""What a dry run must name."""
_SAMPLES = 100
_COMPUTED = 4
"""Samples that are computed with the kit's encodings, and with the quantized model that they are of."""
_SAME = 100.0
"""dB: beyond float32's rounding, and far beyond one integer step that differs."""


def main() -> None:
    """Print the figures; exit status 1 where samples differ or a command is missing."""
    given = arguments(__doc__).parse_args()
    report = Report(4, "the kit's samples read back as the same arrays; its dry run prints each command")
    report.rows = [("model", "layout", "samples", "arrays equal", "first file", "encodings", "applied, to Q/DQ", "kit")]
    with tempfile.TemporaryDirectory() as name:
        kits = [
            _made(subject, layout, Path(name), report)
            for subject in subjects()
            if subject.name in MODELS
            for layout in LAYOUTS
        ]
        for flow in FLOWS:
            _dry_run(kits[0], flow, report)
    equal = sum(row[3] == "all" for row in report.rows[1:])
    report.headline = f"{equal} of {len(kits)} kits read back; {len(FLOWS)} flows printed; nothing ran with the SDK"
    report.notes.append(f"applied, to Q/DQ: SNR of {_COMPUTED} samples, 300 dB where every bit is the same")
    report.print_and_exit(as_json=given.json)


def _made(subject: Subject, layout: str, folder: Path, report: Report) -> Path:
    """Write a kit as a user does, and read it back against the samples it was made of."""
    kit, what = folder / f"{subject.name}-{layout}", f"{subject.name} {layout}"
    commands = Commands()
    given = ("run", subject.find_model(), "--passes", "freeze-shapes{batch=1},O2,quantize", "--target", "qnn-kit")
    emit = f"qnn-kit{{layout={layout} samples={_SAMPLES}}}={kit}"
    whole = folder / "quantized.onnx"
    ran = commands.run(*given, "--data", subject.find_calibration(), "--no-verify", "--emit", emit, "-o", whole)
    if ran.returncode:
        report.rows.append((subject.name, layout, *["-"] * 6))
        report.require(f"{what}: {said(ran)}", False)
        return kit
    specs = inputs_of(onnx.load(subject.find_model(), load_external_data=False))
    wanted = list(open_data(subject.find_calibration(), specs).spread(_SAMPLES).samples())
    found = list(open_data(kit / "input_list.txt", specs).samples())
    equal = sum(
        one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in other)
        for one, other in zip(found, wanted, strict=False)
    )
    all_of_them = equal == len(wanted) == len(found) > 0
    again = commands.run(*given[:4], "--data", kit / "input_list.txt", "-o", folder / "again.onnx")
    report.require(f"{what}: {equal} of {len(wanted)} samples are the same", all_of_them)
    report.require(f"{what}: --data {kit.name}/input_list.txt: {said(again)}", again.returncode == 0)
    first = np.fromfile(kit / "raw/00000_0.raw", np.float32)
    sample = np.asarray(wanted[0][subject.input])
    stored = sample.transpose(1, 2, 0) if layout == "nhwc" else sample
    ordered = np.array_equal(first, stored.ravel())
    report.require(f"{what}: the raw file is not in that order", ordered)
    same = _snr(_outputs(onnx.load(whole), wanted), _outputs(applied(kit), wanted))
    report.require(f"{what}: encodings.json on model.onnx is {same:.1f} dB from the quantized model", same > _SAME)
    size = sum(path.stat().st_size for path in kit.rglob("*") if path.is_file())
    encodings = (kit / "encodings.json").read_text().count('"bitwidth"')
    order = f"{'x'.join(map(str, stored.shape))} in order" if ordered else "out of order"
    told = "all" if all_of_them else f"{equal}"
    report.rows.append(
        (subject.name, layout, str(len(found)), told, order, str(encodings), f"{same:.0f} dB", f"{size:,}")
    )
    return kit


def _outputs(model: onnx.ModelProto, samples: Sequence[Sample]) -> list[Array]:
    """What onnxruntime computes of the first samples, with its optimizations off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = [{name: np.asarray(array)[None] for name, array in sample.items()} for sample in samples[:_COMPUTED]]
    return [array for feeds in fed for array in session.run(None, feeds)]


def _snr(expected: Sequence[Array], found: Sequence[Array]) -> float:
    """Of all outputs together, in dB; 300 where they are equal."""
    signal = sum(float(np.square(array, dtype=np.float64).sum()) for array in expected)
    noise = sum(
        float(np.square(one - other, dtype=np.float64).sum()) for one, other in zip(expected, found, strict=True)
    )
    return 300.0 if noise == 0 else 10 * float(np.log10(signal / noise))


def _dry_run(kit: Path, flow: str, report: Report) -> None:
    ran = subprocess.run(
        ["/bin/sh", kit / "run.sh", "--dry-run", "--flow", flow],
        capture_output=True, text=True, check=False, env={"PATH": ""},
    )  # fmt: skip
    report.require(f"the dry run of {flow} fails: {ran.stderr.strip()}", ran.returncode == 0)
    for command in FLOWS[flow]:
        report.require(f"the dry run of {flow} names no {command}", command in ran.stdout)
    report.notes += [f"{flow}: {line}" for line in ran.stdout.splitlines()]
    report.figures[flow] = ran.stdout.splitlines()


if __name__ == "__main__":
    main()
