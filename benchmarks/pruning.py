"""Pruned models on data that nothing was calibrated on: what methods lose, and what is left after quantization.

    python benchmarks/pruning.py [--models TEXT,...] [--only accuracy,zeros] [--json]

A whole run is kept in benchmarks/results/.

The models are digits_mobilenet and tinybeauty (fixtures/); no labels are used and nothing is trained.

    accuracy  30, 50 and 70 % of the weights, and 2:4, by magnitude (of every layer as many) and to second order (also
              of all layers together), each with and without `reconstruct`: what is lost of top-1 in points, or of the
              PSNR in dB
    zeros     half of the weights pruned, reconstructed, and quantized for every target: whether what is masked is
              zero still, the accuracy in onnxruntime, and the sizes of the files as they are stored and as a zip

The verdicts: at 50 % digits_mobilenet loses at most 0.3 points, at 30 % tinybeauty loses at most 0.2 dB.
"""

from __future__ import annotations

import json
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
from quantization_runs import TARGETS, Variant
from quantization_subjects import Subject, subjects
from reporting import Report, aligned, arguments, tick

import onnxopt
from onnxopt import ir
from onnxopt.pipeline.backend import Emission
from onnxopt.pruning.masks import Masks

RESULTS = Path(__file__).parent / "results"
MODELS = ("digits_mobilenet", "tinybeauty")
LOSSLESS = "convert-opset{opset=17},O3"
PATTERNS = ("30 %", "50 %", "70 %", "2:4")
METHODS = {
    "magnitude": "prune{{{0}}}",
    "magnitude, reconstruct": "prune{{{0}}},reconstruct",
    "second-order, by layer": "prune{{method=second-order {0}}}",
    "second-order": "prune{{method=second-order {0}{1}}}",
    "second-order, reconstruct": "prune{{method=second-order {0}{1}}},reconstruct",
}
"""With the share of zeros, and with whether that is the share of every layer or of all together."""
BEST = "second-order, reconstruct"
LIMITS = {("digits_mobilenet", "50 %"): 0.3, ("tinybeauty", "30 %"): 0.2}
"""What may be lost by the best method, in the unit of the model."""


def _passes(method: str, zeros: str) -> str:
    if ":" in zeros:
        return METHODS[method].format(f"pattern={zeros}", "")
    return METHODS[method].format(f"sparsity=0.{zeros[0]}", " scope=global")


COMBINED = _passes(BEST, "50 %")


def main() -> None:
    """Measure, print, and say what holds."""
    parser = arguments(__doc__)
    parser.add_argument("--models", default="", metavar="TEXT,...", help="models whose names contain one of these")
    parser.add_argument("--only", default="accuracy,zeros", metavar="A,B", help="accuracy, zeros")
    given = parser.parse_args()
    report = Report(1, "pruned without training, accuracy comes back; zeros stay zeros when quantized")
    report.rows.append(("model", "zeros", "method", "lost", "SNR dB", "masked", "bytes", "zip", "seconds"))
    with tempfile.TemporaryDirectory() as folder:
        for subject in subjects():
            if subject.name in MODELS and any(text in subject.name for text in given.models.split(",")):
                if "accuracy" in given.only:
                    _accuracy(subject, report, Path(folder))
                if "zeros" in given.only:
                    _zeros(subject, report, Path(folder))
    if not given.models and given.only == parser.get_default("only"):
        _keep(report)
    report.print_and_exit(as_json=given.json)


def _keep(report: Report) -> None:
    heading = f"onnxruntime {onnxruntime.__version__}; {report.claim}\n"
    verdict = f"{'holds' if report.holds else 'DOES NOT HOLD'}: {report.headline}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "pruning.txt").write_text("\n".join([heading, aligned(report.rows), *report.notes, verdict, ""]))
    (RESULTS / "pruning.json").write_text(json.dumps(report.figures, indent=1))


class _Made(Variant):
    """A model that a pipeline made."""

    masks: Masks
    """Of the weights as `prune` left them."""
    seconds: float


def _make(subject: Subject, name: str, passes: str, folder: Path, target: str = "onnx", emit: str = "") -> _Made:
    """Run a pipeline on the calibration data and write what it gives; `emit` has options of the backend onnx."""
    tick(f"{subject.name}: {name}")
    made = _Made(name, subject, folder / f"{subject.name}-{len(list(folder.iterdir()))}.onnx")
    data = subject.find_calibration()
    started = time.perf_counter()
    result = onnxopt.run(subject.find_model(), passes, data=data, target=target, verify=False, provenance=False)
    made.seconds = time.perf_counter() - started
    result.write(None, [Emission.parse(f"onnx{{{emit}}}={made.path}" if emit else f"onnx={made.path}")], {})
    made.masks = result.context.kept(Masks) or Masks()
    made.run()
    return made


def _accuracy(subject: Subject, report: Report, folder: Path) -> None:
    """Every method at every sparsity."""
    original = _make(subject, "original", LOSSLESS, folder)
    mean = original.plain.mean
    report.rows.append((subject.name, "-", "original", f"{mean:.2f} {subject.unit}", *_more(original, original)))
    for zeros in PATTERNS:
        for method in METHODS:
            found = _make(subject, f"{zeros}, {method}", f"{LOSSLESS},{_passes(method, zeros)}", folder)
            lost = mean - found.plain.mean
            report.rows.append((subject.name, zeros, method, f"{lost:.2f} {subject.unit}", *_more(found, original)))
            report.figures[f"{subject.name} {zeros} {method}"] = {"lost": lost, "mean": found.plain.mean}
            limit = LIMITS.get((subject.name, zeros))
            if method == BEST and limit is not None:
                told = f"{subject.name} loses {lost:.2f} {subject.unit} at {zeros} (limit {limit:g})"
                report.require(told, lost <= limit)
                report.headline += f"{told}; "


def _more(found: _Made, original: _Made) -> tuple[str, ...]:
    noise = "" if found is original else f"{found.plain.noise(original.plain):.1f}"
    masked = sum(mask.zeros for mask in found.masks) / max(sum(mask.keep.size for mask in found.masks), 1)
    return noise, f"{masked:.1%}", f"{found.bytes:,}", f"{_zipped(found.path):,}", f"{found.seconds:.1f}"


def _zeros(subject: Subject, report: Report, folder: Path) -> None:
    """Pruned and quantized, for every target."""
    original = _make(subject, "original", LOSSLESS, folder)
    mean = original.plain.mean

    def add(what: str, found: _Made) -> None:
        lost = "" if found.error else f"{mean - found.plain.mean:.2f} {subject.unit}"
        report.rows.append((subject.name, "50 %" if len(found.masks) else "-", what, lost, *_more(found, original)))

    dense = _make(subject, "float", LOSSLESS, folder)
    add("float", dense)
    pruned = _make(subject, "float, pruned", f"{LOSSLESS},{COMBINED}", folder)
    add("float, pruned", pruned)
    sparse = _make(subject, "float, pruned, sparse", f"{LOSSLESS},{COMBINED}", folder, emit="sparse=true")
    add("float, pruned, sparse initializers", sparse)
    add("int8, onnx", _make(subject, "int8", f"{LOSSLESS},quantize{{keep-float=Add}}", folder))
    for target in TARGETS:
        found = _make(subject, f"pruned, {target}", f"{LOSSLESS},{COMBINED},quantize{{keep-float=Add}}", folder, target)
        add(f"int8, pruned, {target}", found)
        filled, masked = _filled(found)
        report.figures[f"{subject.name} {target}"] = {"masked": masked, "filled": filled, "error": found.error}
        report.require(f"{subject.name}, {target}: {filled} of {masked} masked weights are not zero", not filled)
        report.require(f"{subject.name}, {target}: {found.error}", not found.error)
        report.notes.append(f"{subject.name}, {target}: {masked - filled} of {masked} masked weights are zero")
    report.notes.append(
        f"{subject.name}: zeros as they stand make a file no smaller ({dense.bytes:,} and {pruned.bytes:,} bytes); "
        f"as a zip it is {_zipped(pruned.path) / _zipped(dense.path):.2f} of the dense one's; "
        f"as sparse initializers {sparse.bytes:,} bytes"
    )


def _filled(found: _Made) -> tuple[int, int]:
    """How many masked weights of a file are not zero, and how many are masked."""
    now = {mask.layer: mask.keep for mask in Masks.of(ir.load(found.path))}
    filled = masked = 0
    for mask in found.masks:
        masked += mask.zeros
        keep = now.get(mask.layer)
        if keep is not None and keep.shape == mask.keep.shape:
            filled += int(np.count_nonzero(keep & ~mask.keep))
        else:
            filled += mask.zeros
    return filled, masked


def _zipped(path: Path) -> int:
    """Bytes of the file in a zip archive, deflated."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.write(path, path.name)
        return file.tell()


if __name__ == "__main__":
    main()
