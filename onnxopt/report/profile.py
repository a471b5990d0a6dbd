"""Where the time of a model goes: by operator, the slowest kernels, and the passes that made their nodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt.pipeline.instruments.provenance import BY, FROM
from onnxopt.report.bench import milliseconds
from onnxopt.report.text import cell, empty_table, shown

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from onnxopt.runtime.profiling import Kernel, Profile

_SLOWEST = 12
_OWN = "onnxruntime's own"


@dataclass(frozen=True)
class Maker:
    """What a node's metadata says of it."""

    op: str
    made_of: tuple[str, ...]
    """Nodes of the model that went into the run."""
    rewrites: tuple[str, ...]
    """As `pass: what`."""


def makers_of(model: Path) -> dict[str, Maker]:
    """By node, as `runtime.profiling` calls it: its operator, and what passes left in its metadata."""
    import onnx

    from onnxopt.runtime.profiling import every_node, key_of

    found = {}
    for node in every_node(onnx.load(model, load_external_data=False).graph):
        told = {entry.key: tuple(entry.value.splitlines()) for entry in node.metadata_props}
        found[key_of(node)] = Maker(node.op_type, told.get(FROM, ()), told.get(BY, ()))
    return found


def profile_view(name: str, found: Profile, makers: Mapping[str, Maker]) -> RenderableType:
    """Three tables of at most 100 columns: operators, the slowest kernels, passes."""
    from rich.console import Group

    inside = f"{milliseconds(found.inside)} of {milliseconds(found.run)} ms of a run are spent in kernels, profiled"
    parts: list[RenderableType] = [
        cell(f"{name}: {inside}", "bold", 98),
        "",
        _operators(found),
        "",
        _slowest(found, makers),
    ]
    passes = _by_pass(found, makers)
    if any(who for who in passes):
        parts += ["", _passes(found, passes)]
    return Group(*parts)


def profile_json(found: Profile, makers: Mapping[str, Maker]) -> dict[str, Any]:
    """Every kernel, with the nodes that it stands for, what they were made of and by which rewrites."""
    return {
        "milliseconds": found.run * 1e3,
        "in_kernels": found.inside * 1e3,
        "operators": {op: seconds * 1e3 for op, (seconds, _) in _by_operator(found).items()},
        "passes": {who or "no pass": seconds * 1e3 for who, seconds in _by_pass(found, makers).items()},
        "kernels": [
            {
                "name": kernel.name,
                "op": kernel.op,
                "milliseconds": kernel.seconds * 1e3,
                "calls": kernel.calls,
                "nodes": [
                    {"node": node, "op": maker.op, "made_of": list(maker.made_of), "rewrites": list(maker.rewrites)}
                    for node in kernel.stands_for
                    if (maker := makers.get(node)) is not None
                ],
            }
            for kernel in found.kernels
        ],
    }


def _by_operator(found: Profile) -> dict[str, tuple[float, float]]:
    """Seconds and calls, the slowest first."""
    spent: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for kernel in found.kernels:
        spent[kernel.op][0] += kernel.seconds
        spent[kernel.op][1] += kernel.calls
    return {op: (seconds, calls) for op, (seconds, calls) in sorted(spent.items(), key=lambda item: -item[1][0])}


def _by_pass(found: Profile, makers: Mapping[str, Maker]) -> dict[str, float]:
    """Seconds in kernels with a node that the pass made or changed: one kernel may count for several passes.

    The empty name has what no pass touched.
    """
    spent: defaultdict[str, float] = defaultdict(float)
    for kernel in found.kernels:
        for who in dict.fromkeys(_passes_behind(kernel, makers)) or ("",):
            spent[who] += kernel.seconds
    return dict(sorted(spent.items(), key=lambda item: -item[1]))


def _passes_behind(kernel: Kernel, makers: Mapping[str, Maker]) -> list[str]:
    rewrites = [rewrite for node in kernel.stands_for if node in makers for rewrite in makers[node].rewrites]
    return [rewrite.partition(":")[0] for rewrite in rewrites]


def _table(*headings: str) -> Table:
    table = empty_table(padding=(0, 1, 0, 0))
    for heading in headings:
        is_figure = heading in ("ms", "share", "calls")
        table.add_column(heading, justify="right" if is_figure else "left", no_wrap=True)
    return table


def _share(seconds: float, found: Profile) -> str:
    return f"{100 * seconds / found.inside:.1f} %" if found.inside else ""


def _operators(found: Profile) -> Table:
    table = _table("ms", "share", "calls", "operator")
    for op, (seconds, calls) in _by_operator(found).items():
        table.add_row(milliseconds(seconds), _share(seconds, found), f"{calls:g}", cell(op, "bold", 40))
    return table


def _slowest(found: Profile, makers: Mapping[str, Maker]) -> Table:
    table = _table("ms", "share", "kernel", "stands for", "by")
    for kernel in found.kernels[:_SLOWEST]:
        table.add_row(
            milliseconds(kernel.seconds),
            _share(kernel.seconds, found),
            cell(kernel.op, "bold", 15),
            cell(_nodes(kernel, makers), "", 52),
            cell(", ".join(dict.fromkeys(_passes_behind(kernel, makers))), "dim", 17),
        )
    if rest := found.kernels[_SLOWEST:]:
        seconds = sum(kernel.seconds for kernel in rest)
        table.add_row(milliseconds(seconds), _share(seconds, found), cell(f"{len(rest)} more", "dim"))
    return table


def _nodes(kernel: Kernel, makers: Mapping[str, Maker]) -> str:
    """The operators, and the node that gives the kernel its result."""
    if not kernel.stands_for:
        return _OWN
    known = [node for node in kernel.stands_for if node in makers]
    ops = "+".join(_ops([makers[node].op for node in known]))
    return f"{shown(ops, 22)} {shown(kernel.stands_for[-1], 29)}"


def _ops(ops: Sequence[str]) -> list[str]:
    """Without the Q/DQ around a quantized one."""
    return [op for op in ops if op not in ("QuantizeLinear", "DequantizeLinear")] or list(ops)


def _passes(found: Profile, passes: Mapping[str, float]) -> Table:
    table = _table("ms", "share", "in kernels with nodes that this pass made or changed")
    for who, seconds in passes.items():
        table.add_row(milliseconds(seconds), _share(seconds, found), cell(who or "none", "bold" if who else "dim", 60))
    return table
