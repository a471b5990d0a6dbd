"""What quantization must show, point by point, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantization_latency import AGAIN, Latency
from quantization_runs import FLOAT, OURS, PEER, TARGETS, Measured, Variant
from quantization_subjects import Subject
from reporting import Report

_RESOLUTION = 0.01
"""Ratios of latency nearer than this are the same."""
_ROUNDING = 1e-9
"""Of the means: a drop of exactly the limit is within it."""


def accurate(measured: Sequence[Measured]) -> Report:
    """Point 1."""
    report = Report(1, "int8 for onnxruntime: accuracy lost within the limits, at most onnxruntime's size")
    report.rows = [("model", "float", "theirs", "ours", "lost", "ours", "limit", "KB", "theirs", "ours", "SNR", "ours")]
    held = 0
    for found in measured:
        subject, ours = found.subject, found.ours["onnx"]
        problems = [text for text in (_unusable(found), *_lost(found, ours)) if text]
        if not ours.error and not found.peer.error and ours.bytes > found.peer.bytes:
            problems.append(f"{ours.bytes:,} bytes, onnxruntime's {found.peer.bytes:,}")
        for problem in problems:
            report.require(f"{subject.name}: {problem}", False)
        held += not problems
        report.rows.append((subject.name, *_accuracy(found, ours)))
    report.headline = f"{held} of {len(measured)} models within the limits of accuracy and size"
    report.notes += [
        "lost: by theirs, then by ours; KB: of the float model, theirs and ours; SNR: of theirs and ours, in dB",
        "measured with onnxruntime's optimizations on, against the float model as it came",
    ]
    return report


def lawful(measured: Sequence[Measured]) -> Report:
    """Point 2."""
    report = Report(2, "for every target: no rule broken; simulated accuracy in onnxruntime")
    report.rows = [("model", "target", "float", "off", "on", "lost", "limit", "SNR", "KB", "broken", "slow")]
    made, broken = 0, 0
    for found in measured:
        for target, variant in found.ours.items():
            if variant.error:
                report.require(f"{found.subject.name} for {target}: {variant.error}", False)
                continue
            wrong = [problem for problem in variant.violations if problem.is_wrong]
            made, broken = made + 1, broken + len(wrong)
            for problem in wrong[:3]:
                report.require(f"{found.subject.name} for {target}: {problem.node}: {problem.reason}", False)
            report.require(f"{found.subject.name} for {target}: {len(wrong)} rules broken", len(wrong) <= 3)
            report.notes += [f"{found.subject.name} for {target}: {text}" for text in _lost(found, variant)]
            report.rows.append((found.subject.name, target, *_simulated(found, variant, len(wrong))))
    report.notes += [
        "off, on: onnxruntime's optimizations; lost: with them off, every Q/DQ computed as it stands; SNR in dB",
        "broken: rules, by onnxopt/quantization/legality; slow: what the target takes and does not do in integers",
    ]
    report.headline = f"{broken} rules broken in {made} models of {len(measured) * len(TARGETS)}"
    return report


def fast(measured: Sequence[Measured], times: Mapping[str, Latency]) -> Report:
    """Point 4."""
    report = Report(4, "int8 latency in onnxruntime, its optimizations on, at most that of onnxruntime's int8")
    report.rows = [("model", "ms", "A/A", "theirs/float", "ours/float", "ours/theirs")]
    worst = 0.0
    for found in measured:
        name = found.subject.name
        if name not in times:
            report.require(f"{name}: {_unusable(found) or found.ours['onnx'].error}", False)
            continue
        ratios, against = times[name].ratios, times[name].against(OURS, PEER)
        first = (f"{times[name].milliseconds:.3g}", f"{ratios[AGAIN].median:.3f}")
        report.rows.append((name, *first, *map(str, (ratios[PEER], ratios[OURS], against))))
        worst = max(worst, against.median)
        text = f"{name}: {against} of the time of onnxruntime's"
        report.require(text, against.median <= 1 + _RESOLUTION)
    report.headline = f"at most {worst:.3f} of the time of onnxruntime's"
    report.notes += [
        "medians of ratios within a round, in brackets where the true one lies with 95 % confidence",
        "float: after the part of our pipeline that does not quantize; A/A: that model against itself",
    ]
    return report


def _unusable(found: Measured) -> str:
    errors = [f"{variant.who}: {variant.error}" for variant in (found.original, found.peer) if variant.error]
    return "; ".join(errors)


def _lost(found: Measured, variant: Variant) -> list[str]:
    """Where it loses more than it may."""
    if variant.error:
        return [variant.error]
    subject, before, after = found.subject, found.original.deployed, variant.deployed
    drop = before.mean - after.mean
    problems = []
    if drop > subject.limit + _ROUNDING:
        problems.append(f"loses {drop:.3g} {_unit(subject)}, the limit is {subject.limit:g}")
    if subject.keep_all and after.lost(before):
        problems.append(f"{after.lost(before)} of {int((before.rows > 0).sum())} right ones lost")
    return problems


def _accuracy(found: Measured, ours: Variant) -> tuple[str, ...]:
    everyone = (found.original, found.peer, ours)
    before = found.original.deployed
    return (
        *("-" if variant.error else f"{variant.deployed.mean:.2f}" for variant in everyone),
        *("-" if variant.error else f"{before.mean - variant.deployed.mean:.2f}" for variant in everyone[1:]),
        _limit(found.subject),
        *("-" if variant.error else _kilobytes(variant) for variant in everyone),
        *("-" if variant.error else f"{variant.deployed.noise(before):.1f}" for variant in everyone[1:]),
    )


def _simulated(found: Measured, variant: Variant, wrong: int) -> tuple[str, ...]:
    before = found.original.plain
    return (
        f"{before.mean:.2f}",
        f"{variant.plain.mean:.2f}",
        f"{variant.deployed.mean:.2f}",
        f"{before.mean - variant.plain.mean:.2f}",
        _limit(found.subject),
        f"{variant.plain.noise(before):.1f}",
        _kilobytes(variant),
        str(wrong),
        str(len(variant.violations) - wrong),
    )


def _kilobytes(variant: Variant) -> str:
    return f"{variant.bytes / 1e3:.4g}" if variant.bytes < 1e6 else f"{variant.bytes / 1e3:.0f}"


def _limit(subject: Subject) -> str:
    return f"{subject.limit:g} {subject.unit}"


def _unit(subject: Subject) -> str:
    return "points" if subject.unit == "%" else subject.unit


def as_json(measured: Sequence[Measured], times: Mapping[str, Latency]) -> dict[str, object]:
    """All figures, by model."""
    return {found.subject.name: _figures(found, times.get(found.subject.name)) for found in measured}


def _figures(found: Measured, times: Latency | None) -> dict[str, object]:
    variants = {FLOAT: found.original, PEER: found.peer, "float optimized": found.optimized}
    variants |= {f"{OURS} for {target}": variant for target, variant in found.ours.items()}
    figures: dict[str, object] = {"unit": found.subject.unit, "limit": found.subject.limit}
    for name, variant in variants.items():
        figures[name] = {"error": variant.error} if variant.error else _worth(found, variant)
    if times:
        figures["latency"] = {
            "milliseconds": times.milliseconds,
            **{name: {"median": ratio.median, "interval": ratio.interval} for name, ratio in times.ratios.items()},
        }
    return figures


def _worth(found: Measured, variant: Variant) -> dict[str, object]:
    return {
        "bytes": variant.bytes,
        "optimizations off": variant.plain.mean,
        "optimizations on": variant.deployed.mean,
        "right ones lost": variant.deployed.lost(found.original.deployed) if found.subject.unit == "%" else None,
        "snr": variant.plain.noise(found.original.plain) if variant is not found.original else None,
        "warnings": variant.warnings,
        "violations": [f"{problem.node}: {problem.reason}" for problem in variant.violations],
    }
