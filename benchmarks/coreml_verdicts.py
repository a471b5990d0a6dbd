"""The points that packages are judged by."""

from __future__ import annotations

from collections.abc import Sequence

from coreml_runs import Written
from reporting import Report

FLOAT16_LOSS = 0.05
"""Points or dB."""


def accurate(found: Sequence[Written]) -> Report:
    """Point 2: every form is written and evaluated; float16 is as good as float."""
    report = Report(2, "packages in every form, and what they are worth, read back from the disk")
    report.rows.append(("model", "form", "target", "weights", "package", "worth", "lost", "stored as"))
    for each in found:
        figures = (f"{each.weights:,}", f"{each.package:,}", f"{each.value:.2f} {each.unit}", f"{each.lost:.2f}")
        row = ("-", "-", each.error, "-") if each.error else figures
        stored = ", ".join(f"{count} {kind}" for kind, count in each.encodings.items())
        report.rows.append((each.model, each.variant, each.target, *row, stored))
        report.require(f"{each.model} {each.variant} {each.target}: {each.error}", not each.error)
        if each.variant == "float16" and not each.error:
            told = f"{each.model} in float16 loses {each.lost:.3f} {each.unit}"
            report.require(told, each.lost <= FLOAT16_LOSS)
    lost = [each.lost for each in found if each.variant == "float16" and not each.error]
    written = sum(not each.error for each in found)
    report.headline = f"{written} of {len(found)} packages written and evaluated; "
    report.headline += (
        f"float16 loses at most {max(0.0, *lost):.3f} points or dB (limit {FLOAT16_LOSS})" if lost else ""
    )
    return report


def beside(found: Sequence[Written]) -> Report:
    """Point 5: nothing is larger than what coremltools' own compression makes."""
    report = Report(5, "no package is larger than what coremltools' own compression makes")
    report.rows.append(("model", "form", "target", "ours", "coremltools", "ratio"))
    ratios = []
    for each in found:
        if each.peer is not None:
            ratios.append(each.package / each.peer)
            sizes = (f"{each.package:,}", f"{each.peer:,}", f"{ratios[-1]:.4f}")
            report.rows.append((each.model, each.variant, each.target, *sizes))
            report.require(f"{each.model} {each.variant} {each.target}: {sizes[2]} of theirs", ratios[-1] <= 1)
    smaller = sum(ratio <= 1 for ratio in ratios)
    report.headline = f"{smaller} of {len(ratios)} are no larger"
    report.headline += f", from {min(ratios):.3f} to {max(ratios):.4f} of theirs" if ratios else ""
    return report
