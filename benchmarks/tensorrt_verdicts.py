"""What TensorRT engines must show, point by point, from what was built."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reporting import Report, aligned

INTEGERS, LOST = 0.95, 0.3
"""The least share of MACs in int8, of a CNN; and what int8 may lose, in points or dB."""
MOST = {"fp16": 0.55, "int8+fp16": 0.30}
"""Of float32's weight memory: about half, and about a quarter. Tables that are looked up stay in float."""
SMALL = 1_000_000
"""Bytes of float32's weights below which that is not judged: scales, biases and what the builder pads count there."""


@dataclass
class Made:
    """One model in one precision."""

    model: str
    precision: str
    is_cnn: bool
    unit: str
    error: str = ""
    """Why there is none."""
    engine: int = 0
    weights: int = 0
    """Bytes of the engine, and of what the builder calls its total weights memory."""
    stored: int = 0
    """Bytes of the weights, scales and biases in the graph that was handed to it."""
    sha256: str = ""
    is_repeated: bool = False
    """Whether a second build, in a process of its own, gave the same bytes."""
    macs: dict[str, float] = field(default_factory=dict)
    """The share of MACs by precision, as the builder's layers tell."""
    fell_back: list[str] = field(default_factory=list)
    """Nodes with quantized data that run in float."""
    unknown: list[str] = field(default_factory=list)
    """Nodes of which the layers do not tell."""
    reference: float = 0.0
    value: float = 0.0
    """What the float model and the graph are worth in onnxruntime."""

    @property
    def lost(self) -> float:
        """Of what the float model is worth; nan where the weights are random."""
        return self.reference - self.value if math.isfinite(self.reference) else math.nan


def built(found: Sequence[Made]) -> Report:
    """Point 1."""
    report = Report(1, "engines of 1 to 8 samples: sizes, MACs in int8 of the CNNs at least 95 %, builds bit-identical")
    report.rows = [("model", "", "engine", "weights", "of fp32", "stored", "of fp32", "MACs", "fell back", "again")]
    floats = {each.model: each for each in found if each.precision == "fp32" and not each.error}
    for each in found:
        if each.error:
            report.rows.append((each.model, each.precision, *["-"] * 8))
            report.require(f"{each.model} {each.precision}: {each.error}", False)
            continue
        of = floats.get(each.model)
        shares = [f"{part / whole:.2f}" if of and whole else "-" for part, whole in _parts(each, of)]
        report.rows.append(
            (
                each.model, each.precision, f"{each.engine:,}", f"{each.weights:,}", shares[0], f"{each.stored:,}",
                shares[1], _macs(each.macs), str(len(each.fell_back)), "same" if each.is_repeated else "DIFFERS",
            )
        )  # fmt: skip
        _judge(report, each, of)
    integers = [each.macs.get("int8", 0.0) for each in found if _is_judged(each)]
    least = f"at least {min(integers):.1%} of the MACs of a CNN in int8" if integers else "no int8 of a CNN"
    same = sum(each.is_repeated for each in found)
    report.headline = f"{same} of {len(found)} engines built twice bit-identical; {least}"
    report.notes += [
        "weights: the builder's total weights memory, where depthwise int8 weights have 4 input channels for 1",
        "stored: bytes of constants in the graph that was handed to it, with scales, zero points and biases",
        "MACs: by the types of the layers in the builder's report; fell back: quantized, and in float all the same",
    ]
    return report


def _parts(each: Made, of: Made | None) -> list[tuple[int, int]]:
    return [(each.weights, of.weights if of else 0), (each.stored, of.stored if of else 0)]


def _judge(report: Report, each: Made, of: Made | None) -> None:
    who = f"{each.model} {each.precision}"
    report.require(f"{who}: the second build differs", each.is_repeated)
    if each.fell_back:
        fell = f"{who}: {len(each.fell_back)} quantized nodes run in float: {', '.join(each.fell_back[:2])}"
        report.require(fell, not each.is_cnn)
        report.notes += [] if each.is_cnn else [fell]
    if _is_judged(each):
        share = each.macs.get("int8", 0.0)
        report.require(f"{who}: {share:.2%} of MACs in int8, {INTEGERS:.0%} are wanted", share >= INTEGERS)
    if each.unknown:
        report.notes.append(f"{who}: the layers do not tell of {', '.join(each.unknown[:3])}")
    most = MOST.get(each.precision)
    if of is None or most is None:
        return
    ratio = each.weights / of.weights
    if of.weights >= SMALL:
        report.require(f"{who}: {ratio:.2f} of fp32's weight memory, at most {most:g} is wanted", ratio <= most)
    elif ratio > most:
        report.notes.append(f"{who}: {ratio:.2f} of fp32's weight memory, which is {of.weights:,} bytes: not judged")


def _is_judged(each: Made) -> bool:
    return each.is_cnn and each.precision.startswith("int8") and not each.error


def _macs(shares: dict[str, float]) -> str:
    return ", ".join(f"{share:.1%} {name}" for name, share in shares.items())


def accurate(found: Sequence[Made]) -> Report:
    """Point 2."""
    report = Report(2, "the graphs as they were built, in onnxruntime: int8 within 0.3 points, tinybeauty 0.3 dB")
    report.rows = [("model", "", "float", "graph", "lost", "limit", "")]
    for each in (made for made in found if not made.error):
        limit = LOST if each.precision.startswith("int8") and math.isfinite(each.lost) else None
        shown = ("-", f"{each.value:.1f}", "-") if math.isnan(each.lost) else _shown(each)
        report.rows.append((each.model, each.precision, *shown, "-" if limit is None else f"{limit:g}", each.unit))
        if limit is not None:
            report.require(
                f"{each.model} {each.precision} loses {each.lost:.2f} {each.unit}", each.lost <= limit + 1e-9
            )
    report.headline = f"int8 loses at most {_worst(found, '%'):.2f} points and {_worst(found, 'dB'):.2f} dB"
    report.notes.append(
        "computed as they stand, onnxruntime's optimizations off, on data that was not calibrated on; dB to float: the "
        "signal-to-noise ratio to the float model's outputs, where weights are random"
    )
    return report


def _shown(each: Made) -> tuple[str, str, str]:
    return f"{each.reference:.2f}", f"{each.value:.2f}", f"{each.lost:+.2f}"


def _worst(found: Iterable[Made], unit: str) -> float:
    int8 = (each for each in found if each.precision.startswith("int8") and not each.error and each.unit == unit)
    return max((each.lost for each in int8), default=0.0)


def text_of(report: Report) -> str:
    """A point as the results keep it."""
    mark = "holds" if report.holds else "DOES NOT HOLD"
    notes = "".join(f"   {note}\n" for note in report.notes)
    return f"{report.point}. {report.claim}\n\n{aligned(report.rows)}\n   {mark}: {report.headline}\n{notes}"
