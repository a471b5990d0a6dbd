"""The layers of a built engine, as its sidecar tells them: what computes in which precision, and layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnxopt.report.text import cell, empty_table
from onnxopt.report.units import amount

if TYPE_CHECKING:
    from rich.console import RenderableType

_LAYERS = 24
"""Layers that are shown; the sidecar has all."""
_NODES = 6
"""Nodes of one kind that are shown."""
_PARTS = ("precisions", "layers")
"""Of the sidecar, that are shown here."""


def engine_parts(sidecar: Mapping[str, Any]) -> dict[str, list[RenderableType]]:
    """Renderings by the key of the sidecar that they show; none where it is of no engine. At most 94 columns."""
    if not all(key in sidecar for key in _PARTS):
        return {}
    return {"precisions": precisions_view(sidecar["precisions"]), "layers": layers_view(sidecar["layers"])}


def precisions_view(facts: Mapping[str, Any]) -> list[RenderableType]:
    """How many MACs run in which precision, then the nodes that are not what one would think."""
    from rich.progress_bar import ProgressBar

    table = empty_table()
    for heading in ("precision", "MACs", "share", "nodes", ""):
        table.add_column(heading, justify="left" if heading in ("precision", "") else "right", no_wrap=True)
    for name, found in facts["by_precision"].items():
        style = "yellow" if name == "unknown" else "bold"
        bar = ProgressBar(1, found["share"], 20, complete_style="cyan", finished_style="cyan")
        table.add_row(cell(name, style), amount(found["macs"]), f"{found['share']:.2%}", str(found["nodes"]), bar)
    parts: list[RenderableType] = [table]
    if at := facts["at"]:
        shapes = ", ".join(f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in at.items())
        parts.append(cell(f"MACs of a run on {shapes}", "dim", 94))
    parts += _nodes("have quantized data and run in float all the same", facts["fell_back"], "yellow")
    parts += _nodes("have quantized weights and compute in float, as that is meant", facts["weights_only"], "dim")
    parts += _nodes("are not told of", facts["unknown"], "yellow")
    if uncounted := facts["uncounted"]:
        listed = ", ".join(f"{count} {operator}" for operator, count in uncounted.items())
        parts.append(cell(f"not counted, for their shapes or their MACs are not known: {listed}", "dim", 94))
    return parts


def layers_view(layers: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """One row a layer: where it comes from, and what goes in and out."""
    table = empty_table()
    for heading in ("layer", "type", "in", "out", "shape"):
        table.add_column(heading, no_wrap=True)
    for layer in layers[:_LAYERS]:
        outputs = layer["outputs"]
        shape = "x".join("?" if dim < 0 else str(dim) for dim in outputs[0]["shape"]) if outputs else ""
        table.add_row(
            cell(_title(layer), "", 35),
            cell(layer["type"], "dim", 14),
            cell(_dtypes(layer["inputs"]), "", 13),
            cell(_dtypes(outputs), "", 8),
            cell(shape, "dim", 13),
        )
    more = len(layers) - _LAYERS
    return [table, *([cell(f"and {more} more; --json has all", "dim")] if more > 0 else [])]


def _title(layer: Mapping[str, Any]) -> str:
    """The nodes that a layer comes from, or where the builder does not say, its name."""
    nodes = layer["onnx_nodes"]
    return f"{nodes[0]}{f' +{len(nodes) - 1}' if len(nodes) > 1 else ''}" if nodes else str(layer["name"])


def _dtypes(tensors: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(str(tensor["dtype"]) for tensor in tensors)) or "-"


def _nodes(what: str, nodes: Sequence[Mapping[str, Any]], style: str) -> list[RenderableType]:
    if not nodes:
        return []
    macs = sum(node["macs"] for node in nodes)
    lines: list[RenderableType] = [cell(f"{len(nodes)} of them, {amount(macs)} MACs, {what}:", style, 94)]
    for node in nodes[:_NODES]:
        more = node.get("precision", node.get("why", ""))
        lines.append(cell(f"  {node['operator']} '{node['node']}': {amount(node['macs'])} MACs, {more}", style, 94))
    return [*lines, *([cell(f"  and {len(nodes) - _NODES} more", style)] if len(nodes) > _NODES else [])]
