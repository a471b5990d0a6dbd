"""What lossless optimization must show, point by point, from what was measured."""

from __future__ import annotations

from collections.abc import Iterator

from measuring import Spread
from optimizers_clock import HEAVY, SYNTHETIC
from optimizers_latency import AGAIN
from optimizers_phases import Measured
from optimizers_runs import ORIGINAL, OURS, Outcome
from optimizers_tables import best, geometric_mean, half_width
from reporting import Report
from zoo import Model

SLOWEST, TIMES, SYNTHETIC_TIMES, BEYOND_COPY, MOST_MEMORY = 1.02, 5.0, 2.0, 5.0, 500e6
FIGURES = {
    "BERT": (281, 129),
    "ViT": (578, 332),
    "shape-heavy transformer": (574, 354),
    "densenet121": (910, 491),
}
"""Nodes before, and after the best peer, as they were once measured. Exporters have changed since: the model of the zoo
that is nearest is named beside each (`Model.figure`), and is judged by the best peer on that model."""
_RESOLUTION = 0.01
"""Ratios of latency nearer than this are the same."""


def correct(measured: Measured) -> Report:
    """Point 1."""
    report = Report(1, "correct on all models, inputs and outputs as declared, the checker passes")
    ours = [found for (tool, _), found in measured.outcomes.items() if tool == OURS]
    for found in ours:
        reasons = [found.error] if found.error else found.problems
        for reason in ["was not checked"] if reasons is None else reasons:
            report.require(f"{found.model}: {reason}", False)
    wrong = {tool: sum(not found.is_right for found in _all(measured, tool)) for tool in measured.versions}
    report.headline = f"{sum(found.is_right for found in ours)} of {len(ours)} models"
    report.notes.append("wrong or without a model: " + ", ".join(f"{tool} {count}" for tool, count in wrong.items()))
    return report


def fast(measured: Measured) -> Report:
    """Point 2."""
    report = Report(2, f"latency at most {SLOWEST} of the original's, and no worse than the best peer's")
    ratios = {(model, on): spread for (tool, model, on), spread in measured.latency.items() if tool == OURS}
    for (model, on), spread in ratios.items():
        noise = half_width(measured.latency[AGAIN, model, on].values)
        if on:
            slow = f"{model}: {spread.median:.3f} of the original with optimizations on, A/A within {noise:.1%}"
            report.require(slow, spread.median <= SLOWEST)
        elif least := _fastest(measured, model, spread):
            tool, other = least
            slow = f"{model}: {spread.median:.3f} with optimizations off, {tool} {other:.3f}, A/A within {noise:.1%}"
            report.require(slow, spread.median <= other * (1 + _RESOLUTION))
    for on in (True, False):
        for tool in measured.versions:
            _against(report, measured, tool, on)
    worst = max((spread.median for (_, on), spread in ratios.items() if on), default=float("nan"))
    off = max((abs(spread.median - 1) for (tool, _, _), spread in measured.latency.items() if tool == AGAIN), default=0)
    report.headline = f"at most {worst:.3f} with optimizations on; medians of A/A off by {off:.1%} at most"
    return report


def _fastest(measured: Measured, model: str, ours: Spread) -> tuple[str, float] | None:
    """The best portable and correct peer with optimizations off."""
    found = {
        tool: measured.latency[tool, model, False].median
        for tool in measured.versions
        if (tool, model, False) in measured.latency and measured.outcomes[tool, model].counts
    }
    return min(found.items(), key=lambda item: item[1]) if found else None


def _against(report: Report, measured: Measured, tool: str, on: bool) -> None:
    """Geometric means over the models that the peer does right."""
    ours = {name for (who, name, switch) in measured.latency if who == OURS and switch is on}
    models = [name for (who, name, switch) in measured.latency if who == tool and switch is on and name in ours]
    if not models:
        return
    mine, other = (geometric_mean([measured.latency[who, m, on].median for m in models]) for who in (OURS, tool))
    switch = "on" if on else "off"
    text = f"{len(models)} models, optimizations {switch}, geometric mean: ours {mine:.4f}, {tool} {other:.4f}"
    if on:
        report.require(text, mine < other)
    if not on or mine < other:
        report.notes.append(text)


def small(measured: Measured) -> Report:
    """Point 3."""
    report = Report(3, "at most the nodes of the best portable and correct peer, or a fusion kept for it")
    compared = above = 0
    for model in measured.models:
        outcomes = {found.tool: found for found in measured.of(model.name)}
        ours, least = outcomes.get(OURS), best(list(outcomes.values()), lambda found: found.nodes)
        if ours is None or least is None:
            continue
        compared += 1
        if model.figure:
            report.notes.append(_figure(model, measured, ours, least))
        if ours.error or ours.nodes > least.nodes:
            above += 1
            kept = _kept(ours, least)
            text = f"{model.name}: {ours.error or ours.nodes}, {least.tool} {least.nodes}"
            if kept:
                report.notes.append(f"{text}; onnxruntime still fuses {kept}")
            else:
                report.require(text, False)
    report.headline = f"{compared - above} of {compared} models with a best peer"
    limit = FIGURES["densenet121"][1]
    for found in _all(measured, OURS):
        if found.model == "light_densenet121":
            report.require(f"densenet121: {found.nodes}, not {limit}", found.nodes <= limit)
    return report


def _figure(model: Model, measured: Measured, ours: Outcome, least: Outcome) -> str:
    before, after = FIGURES[model.figure]
    now = measured.outcomes[ORIGINAL, model.name].nodes
    found = f"{least.tool} {least.nodes}, ours {ours.nodes}"
    return f"{model.figure} {before} to {after}; nearest is {model.name}: {now}, {found}"


def _kept(ours: Outcome, peer: Outcome) -> str:
    """The fusions that onnxruntime finds more often after ours; empty where it finds more after the peer's."""
    mine, other = ours.fusions or {}, peer.fusions or {}
    more = {op: mine.get(op, 0) - other.get(op, 0) for op in sorted({*mine, *other} - {"nodes"})}
    if sum(more.values()) <= 0:
        return ""
    return ", ".join(f"{count} {op} more" for op, count in more.items() if count > 0)


def quick(measured: Measured) -> Report:
    """Point 4."""
    report = Report(4, f"faster than onnxslim and onnxscript, {TIMES:g} times on the geometric mean; large models")
    ours = {found.model: found for found in _all(measured, OURS) if not found.error}
    told = []
    for tool in (tool for tool in ("onnxslim", "onnxscript") if tool in measured.versions):
        theirs = {found.model: found for found in _all(measured, tool) if found.model in ours and not found.error}
        times = {model: found.seconds / ours[model].seconds for model, found in theirs.items()}
        for model, faster in times.items():
            report.require(f"{model}: {1 / faster:.2f} times the seconds of {tool}", faster > 1)
        mean = geometric_mean(list(times.values()))
        told.append(f"{mean:.2f} times as fast as {tool}")
        report.require(f"{told[-1]} on the geometric mean", mean >= TIMES)
        cpu = geometric_mean([found.cpu_seconds / ours[model].cpu_seconds for model, found in theirs.items()])
        report.notes.append(f"in processor time, {cpu:.2f} times as fast as {tool}")
    for text, holds in _large(measured, ours):
        if holds:
            report.notes.append(text)
        report.require(text, holds)
    report.headline = ", ".join(told) or "neither of the two was measured"
    return report


def _large(measured: Measured, ours: dict[str, Outcome]) -> Iterator[tuple[str, bool]]:
    sim = measured.outcomes.get(("onnxsim", SYNTHETIC))
    if SYNTHETIC in ours and sim and not sim.error:
        mine = ours[SYNTHETIC].seconds
        yield f"20,001 nodes: {mine:.2f} s, onnxsim {sim.seconds:.2f} s", mine <= SYNTHETIC_TIMES * sim.seconds
    if HEAVY in ours:
        found = ours[HEAVY]
        yield f"2.4 GB of weights: a peak of {found.peak_bytes / 1e6:.0f} MB", found.peak_bytes < MOST_MEMORY
        if measured.copies:
            copy = Spread(tuple(measured.copies)).median
            text = f"2.4 GB of weights: {found.process_seconds:.2f} s, cp {copy:.2f} s"
            yield text, found.process_seconds - copy <= BEYOND_COPY


def _all(measured: Measured, tool: str) -> Iterator[Outcome]:
    return (found for (name, _), found in measured.outcomes.items() if name == tool)
