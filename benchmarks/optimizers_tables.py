"""The tables of the comparison of optimizers; none is wider than 100 columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from optimizers_latency import AGAIN
from optimizers_phases import Measured
from optimizers_runs import ORIGINAL, OURS, Outcome
from reporting import aligned

Rows = list[tuple[str, ...]]
WIDTH = 100
SHORT = {"onnxoptimizer": "onnxopti.", "onnxscript": "onnxscr."}
"""Names that would make a table too wide."""


def best(outcomes: Sequence[Outcome], key: Callable[[Outcome], float]) -> Outcome | None:
    """Of the peers that are portable and correct, the one with the least; None where there is none."""
    return min((found for found in outcomes if found.tool != OURS and found.counts), key=key, default=None)


def nodes(measured: Measured) -> str:
    """What is left."""
    rows: Rows = [("model", "before", *_heading(measured), "best peer", "")]
    above = 0
    for model in measured.models:
        outcomes = measured.of(model.name)
        least = best(outcomes, lambda found: found.nodes)
        ours = next((found for found in outcomes if found.tool == OURS), None)
        over = ours is not None and least is not None and not ours.error and ours.nodes > least.nodes
        above += over
        before = measured.outcomes[ORIGINAL, model.name].nodes
        excess = f"+{ours.nodes - least.nodes}" if over and ours and least else ""
        rows.append((model.name, str(before), *map(_count, outcomes), str(least.nodes) if least else "-", excess))
    legend = "! not correct, or no model   * operators of one engine only: neither is a best peer\n"
    return f"{aligned(rows)}{legend}{above} of {len(measured.models)} models above the best peer\n"


def _count(found: Outcome) -> str:
    if found.error:
        return "-!"
    return f"{found.nodes}{' ' if found.counts else '!' if not found.is_right else '*'}"


def sizes(measured: Measured, what: str, key: Callable[[Outcome], int]) -> str:
    """Megabytes of weights, or of files."""
    rows: Rows = [(f"{what} in MB", "before", *_heading(measured))]
    for model in measured.models:
        outcomes = [measured.outcomes[ORIGINAL, model.name], *measured.of(model.name)]
        rows.append((model.name, *("-" if found.error else f"{key(found) / 1e6:.5g}" for found in outcomes)))
    return aligned(rows)


def seconds(measured: Measured) -> str:
    """Of work without imports, and of the whole process."""
    rows: Rows = [("seconds of work/process", *_heading(measured))]
    for model in measured.models:
        cells = ["-" if f.error else f"{f.seconds:.2f}/{f.process_seconds:.2f}" for f in measured.of(model.name)]
        rows.append((model.name, *cells))
    return aligned(rows)


def memory(measured: Measured) -> str:
    """Peaks."""
    rows: Rows = [("peak memory in MB", *_heading(measured))]
    for model in measured.models:
        cells = [f"{f.peak_bytes / 1e6:.0f}" if f.peak_bytes else "-" for f in measured.of(model.name)]
        rows.append((model.name, *cells))
    return aligned(rows)


def latency(measured: Measured, *, on: bool) -> str:
    """Times the original's; how far half of the rounds of A/A lie from it."""
    what = f"optimizations {'on' if on else 'off'}"
    rows: Rows = [(what, "ms", "A/A", *_heading(measured))]
    for model in measured.models:
        own, again = (measured.latency.get((tool, model.name, on)) for tool in (ORIGINAL, AGAIN))
        if own is None or again is None:
            continue
        found = [measured.latency.get((tool, model.name, on)) for tool in measured.tools]
        cells = ["-" if spread is None else f"{spread.median:.3f}" for spread in found]
        noise = f"{again.median:.3f} +-{half_width(again.values):.1%}"
        rows.append((model.name, f"{own.median * 1e3:.3g}", noise, *cells))
    means = [geometric_mean([measured.latency[key].median for key in _keys(measured, t, on)]) for t in measured.tools]
    text = aligned([*rows, ("geometric mean", "", "", *(f"{mean:.3f}" for mean in means))])
    return f"{text}how many times the original's time; ms: the original; +-: half of the rounds of A/A are within\n"


def fusions(measured: Measured) -> str:
    """Nodes that onnxruntime makes by fusing, and all that it is left with, at ORT_ENABLE_EXTENDED."""
    rows: Rows = [("fused/left by onnxruntime", "before", *_heading(measured))]
    for model in measured.models:
        outcomes = [measured.outcomes[ORIGINAL, model.name], *measured.of(model.name)]
        rows.append((model.name, *map(_fused, outcomes)))
    return aligned(rows)


def _fused(found: Outcome) -> str:
    if not found.fusions:
        return "-"
    return f"{sum(n for op, n in found.fusions.items() if op != 'nodes')}/{found.fusions['nodes']}"


def faults(measured: Measured) -> str:
    """Who failed on what, and how."""
    lines = list(measured.notes)
    for model in measured.models:
        for found in measured.of(model.name):
            reasons = [found.error] if found.error else list(found.problems or [])
            reasons += [f"uses operators of {domain}" for domain in found.foreign]
            lines += [f"{model.name}, {found.tool}: {reason}" for reason in reasons]
    return "".join(f"{line}\n" for line in lines) or "none\n"


def half_width(values: Sequence[float]) -> float:
    """Half the distance between the quartiles."""
    ordered = sorted(values)
    return (ordered[len(ordered) * 3 // 4] - ordered[len(ordered) // 4]) / 2


def geometric_mean(values: Sequence[float]) -> float:
    """NaN of nothing."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def _keys(measured: Measured, tool: str, on: bool) -> list[tuple[str, str, bool]]:
    return [key for key in measured.latency if key[0] == tool and key[2] is on]


def _heading(measured: Measured) -> list[str]:
    return [SHORT.get(tool, tool) for tool in measured.tools]
