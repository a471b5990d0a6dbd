"""Core ML packages of real models: how small they are, and what they are worth, read back from the disk.

    python benchmarks/coreml.py [--models TEXT,...] [--targets iOS17,iOS18] [--quick]

    2  packages in float32, float16, int8 weights, int8 weights and activations, 30 % and 75 % zeros, 4-bit palettes:
       bytes of the weights and of the package, and the accuracy of the package by MIL's semantics; float16 within 0.05
       points or dB of onnxruntime
    3  tinybeauty: under 100 KB with at most 0.2 dB lost; latency is not measured here
    5  no package larger than what coremltools' own compression makes of our float16 package

coremltools' pruning is by magnitude, its integers are linear_symmetric, its palettes uniform (k-means, its default,
takes as many bytes). Needs onnxopt[coreml]. Nothing here runs on a device.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from measuring import FIXTURES
from quantization_subjects import Subject, subjects
from reporting import Report, aligned, arguments, tick

import onnxopt
from onnxopt import ir

sys.path.insert(0, str(FIXTURES))
from measure import psnr

Array = npt.NDArray[Any]
LOSSLESS = "convert-opset{opset=17},O3"
_PRUNED = ",prune{{method=second-order sparsity={} scope=global}},reconstruct"
VARIANTS = {
    "float32": "",
    "float16": "",
    "int8 weights": ",quantize-weights",
    "W8A8": ",quantize",
    "30 % zeros": _PRUNED.format(0.3),
    "75 % zeros": _PRUNED.format(0.75),
    "30 % zeros, int8": _PRUNED.format(0.3) + ",quantize-weights",
    "4-bit palette": ",quantize-weights{type=palette}",
}
"""What follows in the pipeline, for `--target coreml`; all but the first are computed in float16."""
SAMPLES = {"digits_mobilenet": 200, "tinybeauty": 4, "efficientnet_lite0": 8, "ppocr_cls": 20}
"""To judge on, the first ones of the test data."""
_QUICK = 2
FLOAT16_LOSS, BEAUTY_LOSS, BEAUTY_BYTES = 0.05, 0.2, 100_000


@dataclass
class Written:
    """One package."""

    model: str
    variant: str
    target: str
    unit: str = ""
    error: str = ""
    weights: int = 0
    package: int = 0
    """Bytes."""
    encodings: str = ""
    reference: float = 0.0
    value: float = 0.0
    peer: int | None = None
    """Bytes of the package that coremltools' compression makes; None where it has no such thing."""

    @property
    def lost(self) -> float:
        """Of what the float model in onnxruntime is worth on the same samples."""
        return self.reference - self.value


def main() -> None:
    """Measure what is asked for; print, and say what holds."""
    given = _arguments()
    logging.disable(logging.WARNING)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for subject in subjects():
            if any(text in subject.name for text in given.models):
                found += list(_packages(subject, given, Path(folder)))
    reports = [_small(found), _beauty(found), _beside(found)]
    if given.json:
        shown = {report.point: {"holds": report.holds, "notes": report.notes} for report in reports}
        print(json.dumps({"points": shown, "packages": [vars(each) for each in found]}, indent=1))
    else:
        for report in reports:
            print(f"{report.point}. {report.claim}\n\n{aligned(report.rows)}")
            print("".join(f"  {note}\n" for note in report.notes))
            print(f"{'holds' if report.holds else 'DOES NOT HOLD'}: {report.headline}\n")
    sys.exit(not all(report.holds for report in reports))


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__)
    names = str.split
    parser.add_argument("--models", default=[""], type=lambda text: text.split(","), metavar="TEXT,...")
    parser.add_argument("--targets", default=["iOS17", "iOS18"], type=lambda text: text.split(","), metavar="A,B")
    parser.add_argument("--variants", default=list(VARIANTS), type=lambda text: names(text, ";"), metavar="A;B")
    parser.add_argument("--quick", action="store_true", help=f"judge on {_QUICK} samples")
    return parser.parse_args()


def _packages(subject: Subject, given: argparse.Namespace, folder: Path) -> Iterator[Written]:
    count = _QUICK if given.quick else SAMPLES[subject.name]
    with np.load(subject.find_test()) as stored:
        samples, expected = stored[subject.input][:count], stored[subject.expected][:count]
    reference = _worth(subject, _reference(subject, samples), expected)
    for variant in given.variants:
        tick(f"{subject.name}, {variant}: optimizing")
        passes = LOSSLESS + VARIANTS[variant]
        made = onnxopt.run(
            subject.find_model(),
            passes,
            data=subject.find_calibration(),
            target="coreml",
            verify=False,
            provenance=False,
        )
        for target in given.targets:
            tick(f"{subject.name}, {variant}, {target}: writing and evaluating")
            found = Written(subject.name, variant, target, subject.unit, reference=reference)
            path = folder / f"{subject.name}-{variant.replace(' ', '')}-{target}.mlpackage"
            _write(found, made.graph, path, subject, samples)
            if not found.error:
                found.value = _worth(subject, _outputs(path, subject, samples), expected)
                found.peer = _peer(found, path)
            yield found


def _write(found: Written, graph: ir.Graph, path: Path, subject: Subject, samples: Array) -> None:
    """Lowered and written in this process, for one sample at a time."""
    import coremltools as ct

    from onnxopt.backends.coreml.compiling import Asked
    from onnxopt.backends.coreml.interface import Interface, Sizes
    from onnxopt.backends.coreml.lowering.program import lower
    from onnxopt.backends.coreml.package import write_package

    shape = (1, *samples.shape[1:])
    precision = "float32" if found.variant == "float32" else "float16"
    asked = Asked(found.target, precision, Interface(shapes={subject.input: Sizes((shape,))}))
    lowered = lower(graph, getattr(ct.target, found.target), asked.interface)
    if lowered.problems:
        found.error = "; ".join(f"{each.node}: {each.reason}" for each in lowered.problems[:3])
        return
    with contextlib.redirect_stderr(io.StringIO()):
        _, storing = write_package(lowered, asked, path)
    found.encodings = ", ".join(f"{count} {kind}" for kind, count in storing.kinds.most_common())
    found.weights, found.package = _bytes(path / "Data", "weight.bin"), _bytes(path, "*")


def _bytes(path: Path, pattern: str) -> int:
    return sum(each.stat().st_size for each in path.rglob(pattern) if each.is_file())


def _outputs(path: Path, subject: Subject, samples: Array) -> Array:
    from onnxopt.backends.coreml.evaluator import load

    evaluator = load(path)
    rows = [next(iter(evaluator.run({subject.input: row[None]}).values())) for row in samples]
    return np.concatenate([np.asarray(row, np.float32) for row in rows])


def _reference(subject: Subject, samples: Array) -> Array:
    session = onnxruntime.InferenceSession(str(subject.find_model()))
    return np.concatenate([np.asarray(session.run(None, {subject.input: row[None]})[0]) for row in samples])


def _worth(subject: Subject, outputs: Array, expected: Array) -> float:
    """The mean over the samples, in % or dB."""
    if subject.unit == "%":
        return float(np.mean(outputs.argmax(axis=1) == expected) * 100)
    return float(np.mean([psnr(row[None], wanted[None]) for row, wanted in zip(outputs, expected, strict=True)]))


def _peer(found: Written, path: Path) -> int | None:
    """What coremltools makes of our float16 package; None where it has no such thing, or that one is missing."""
    compress = _compressing(found.variant)
    plain = path.with_name(f"{found.model}-float16-{found.target}.mlpackage")
    if compress is None or not plain.is_dir():
        return None
    import coremltools as ct

    target = path.with_suffix(".peer.mlpackage")
    with contextlib.redirect_stderr(io.StringIO()):
        compress(ct.models.MLModel(str(plain), skip_model_load=True)).save(str(target))
    return _bytes(target, "*")


def _compressing(variant: str) -> Callable[[Any], Any] | None:
    import coremltools.optimize.coreml as cto

    def whole(compress: Any, config: Any) -> Callable[[Any], Any]:
        return lambda model: compress(model, cto.OptimizationConfig(global_config=config))

    if variant == "int8 weights":
        return whole(cto.linear_quantize_weights, cto.OpLinearQuantizerConfig(mode="linear_symmetric"))
    if variant in ("30 % zeros", "75 % zeros"):
        share = int(variant[:2]) / 100
        return whole(cto.prune_weights, cto.OpMagnitudePrunerConfig(target_sparsity=share))
    if variant == "4-bit palette":
        return whole(cto.palettize_weights, cto.OpPalettizerConfig(mode="uniform", nbits=4))
    return None


def _small(found: list[Written]) -> Report:
    report = Report(2, "packages in every form, and what they are worth, read back from the disk")
    report.rows.append(("model", "form", "target", "weights", "package", "worth", "lost", "stored as"))
    for each in found:
        figures = (f"{each.weights:,}", f"{each.package:,}", f"{each.value:.2f} {each.unit}", f"{each.lost:.2f}")
        row = ("-", "-", each.error, "-") if each.error else figures
        report.rows.append((each.model, each.variant, each.target, *row, each.encodings))
        report.require(f"{each.model} {each.variant} {each.target}: {each.error}", not each.error)
        if each.variant == "float16" and not each.error:
            told = f"{each.model} in float16 loses {each.lost:.3f} {each.unit}"
            report.require(told, each.lost <= FLOAT16_LOSS)
    worst = max((each.lost for each in found if each.variant == "float16" and not each.error), default=0.0)
    report.headline = f"float16 loses at most {worst:.3f} points or dB (limit {FLOAT16_LOSS})"
    return report


def _beauty(found: list[Written]) -> Report:
    report = Report(3, "tinybeauty in less than 100 KB, with at most 0.2 dB lost")
    report.rows.append(("form", "target", "package", "PSNR dB", "lost", "latency"))
    mine = [each for each in found if each.model == "tinybeauty" and not each.error]
    for each in mine:
        row = (each.variant, each.target, f"{each.package:,}", f"{each.value:.2f}", f"{each.lost:.2f}", "not measured")
        report.rows.append(row)
    fits = [each for each in mine if each.lost <= BEAUTY_LOSS]
    best = min(fits, key=lambda each: each.package, default=None)
    if mine:
        report.require("no package is that small and that good", best is not None and best.package < BEAUTY_BYTES)
    if best is not None:
        report.headline = f"{best.variant} for {best.target}: {best.package:,} bytes, {best.lost:.2f} dB lost"
    return report


def _beside(found: list[Written]) -> Report:
    report = Report(5, "no package is larger than what coremltools' own compression makes")
    report.rows.append(("model", "form", "target", "ours", "coremltools", "ratio"))
    compared = [each for each in found if each.peer is not None]
    for each in compared:
        assert each.peer is not None
        ratio = each.package / each.peer
        report.rows.append(
            (each.model, each.variant, each.target, f"{each.package:,}", f"{each.peer:,}", f"{ratio:.3f}")
        )
        report.require(f"{each.model} {each.variant} {each.target}: {ratio:.3f} of coremltools'", ratio <= 1)
    smaller = sum(each.package <= (each.peer or 0) for each in compared)
    report.headline = f"{smaller} of {len(compared)} are no larger"
    return report


if __name__ == "__main__":
    main()
