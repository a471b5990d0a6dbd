"""How the tensors of a model are quantized, as facts for JSON and as a table."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxopt.report.text import cell, empty_table

if TYPE_CHECKING:
    from rich.table import Table

    from onnxopt import ir

_SCALES = 4
"""Scales of one encoding that are shown as numbers; of more, the least and the largest."""


def encodings(graph: ir.Graph) -> list[dict[str, Any]]:
    """Every tensor that is quantized: dtype, granularity, scale, zero point, once for each encoding of it."""
    from onnxopt import ir

    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    for node in ir.every_node(graph):
        if not node.is_op("QuantizeLinear", "DequantizeLinear") or len(node.inputs) < 2:
            continue
        source = node.inputs[0] if node.is_op("QuantizeLinear") else node.outputs[0]
        stored = node.outputs[0] if node.is_op("QuantizeLinear") else node.inputs[0]
        row = {
            "tensor": source.name,
            "kind": "weight" if isinstance(node.inputs[0], ir.Constant) else "activation",
            "dtype": None if stored.dtype is None else str(stored.dtype),
            **_scale_facts(node.inputs[1], node),
            "zero_point": _zero_point(node),
        }
        found.setdefault((source.name, row["dtype"]), row)
    return list(found.values())


def encodings_table(found: list[dict[str, Any]]) -> Table:
    """So many tensors of each kind, element type and granularity."""
    table = empty_table()
    for heading in ("quantized", "dtype", "granularity", "zero point", "tensors"):
        table.add_column(heading, justify="right" if heading == "tensors" else "left", no_wrap=True)
    kinds = Counter(
        (row["kind"], row["dtype"] or "?", row["granularity"], "0" if row["zero_point"] in ("0", "none") else "any")
        for row in found
    )
    for (kind, dtype, granularity, zero), count in kinds.most_common():
        table.add_row(cell(f"{kind}s"), cell(dtype), cell(granularity, "", 40), cell(zero), cell(count))
    return table


def _scale_facts(scale: ir.Tensor, node: ir.Node) -> dict[str, Any]:
    from onnxopt import ir

    if not isinstance(scale, ir.Constant):
        return {"scale": "computed", "granularity": "?"}
    values = scale.read().astype(np.float64).reshape(-1)
    block = int(node.attr("block_size", 0) or 0)
    if block:
        granularity = f"blocks of {block} along axis {node.attr('axis', 1)}"
    else:
        granularity = f"per channel, axis {node.attr('axis', 1)}" if values.size > 1 else "per tensor"
    if values.size <= _SCALES:
        shown = ", ".join(f"{value:.6g}" for value in values)
    else:
        shown = f"{values.min():.4g} to {values.max():.4g}"
    return {"scale": shown, "granularity": granularity}


def _zero_point(node: ir.Node) -> str:
    from onnxopt import ir

    zero = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2].name else None
    if zero is None:
        return "none"
    if not isinstance(zero, ir.Constant):
        return "computed"
    values = np.unique(zero.read().astype(np.float64))
    return f"{values[0]:g}" if values.size == 1 else f"{values[0]:g} to {values[-1]:g}"
