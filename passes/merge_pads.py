"""`merge-pads`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.proven import ProvenShapes, has, ints
from onnxopt.ir.purity import Purity
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.rules.movement.concats import from_front
from onnxopt.rules.movement.rewriting import NO_INITIALIZERS, int64s, may_have_constants, nodes_of, respell

_PAD = frozenset({"Pad"})
_TAKES_INPUT_FROM = 11
_MERGED_MODES = ("constant", "edge")
"""A reflection of a reflection is none of the first tensor."""


@dataclass(frozen=True)
class MergePads(Pass):
    """Write two Pads in a row as one: of mode `constant` with the same value, or both of mode `edge`.

    The second adds its pads to those of the first, which nobody else may read. Where one adds and the other cuts (a
    negative pad), they stay: what was cut is not what is added. Pads and values must be constants. In every scope.
    """

    preserves: ClassVar[Preserves] = Preserves.BITS
    needs: ClassVar[tuple[str, ...]] = ("Pad",)

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        opsets = dict(nodes_of(graph, _PAD, Purity(graph)))
        if len(opsets) < 2:
            return False
        shapes = ctx.analysis(ProvenShapes, graph)
        with ir.edit(graph) as edit:
            for second, opset in opsets.items():
                first = second.inputs[0].producer
                if first in opsets and edit.sole_reader(first.outputs[0]) is second:
                    verdict = _merged(first, second, shapes)
                    if (
                        isinstance(verdict, list)
                        and opset >= _TAKES_INPUT_FROM
                        and not may_have_constants(edit, second)
                    ):
                        verdict = NO_INITIALIZERS
                    if isinstance(verdict, str):
                        ctx.refuse(verdict, second)
                    elif ctx.allow(f"merged with the Pad of '{first.outputs[0].name}'", second):
                        _respell(edit, first, second, verdict, opset)
        return edit.changed


def _merged(first: ir.Node, second: ir.Node, shapes: ProvenShapes) -> list[int] | str:
    """The pads of both together; or why they stay."""
    mode = first.attr("mode", "constant")
    if mode != second.attr("mode", "constant") or mode not in _MERGED_MODES:
        return f"pads of mode '{mode}' and '{second.attr('mode', 'constant')}' do not add up"
    if mode == "constant" and not _same_value(first, second):
        return "the two fill with different values, or with one that is not constant"
    dims = shapes.dims(first.inputs[0])
    one, two = (_pads(node, None if dims is None else len(dims)) for node in (first, second))
    if one is None or two is None or len(one) != len(two):
        return "its pads, or those before it, are not constant"
    if min(*one, *two) < 0 < max(*one, *two):
        return "one adds and the other cuts"
    return [before + after for before, after in zip(one, two, strict=True)]


def _pads(node: ir.Node, rank: int | None) -> list[int] | None:
    """Pads before each axis, then behind each: of all axes."""
    pads = ints(node, 1, "paddings" if "paddings" in node.attrs else "pads")
    if pads is None or not has(node, 3, ""):
        return pads
    axes = ints(node, 3, "")
    if axes is None or rank is None or len(pads) != 2 * len(axes):
        return None
    full = [0] * (2 * rank)
    for index, axis in enumerate(axes):
        place = from_front(axis, (0,) * rank)
        if place is None or not 0 <= place < rank:
            return None
        full[place], full[place + rank] = pads[index], pads[index + len(axes)]
    return full


def _same_value(first: ir.Node, second: ir.Node) -> bool:
    one, two = _value(first), _value(second)
    return one is not None and two is not None and one == two


def _value(node: ir.Node) -> bytes | None:
    """The value that a Pad fills with, as bytes; empty for 0, which is what it is if none is given."""
    if "value" in node.attrs:
        value = node.attrs["value"]
        return _bytes(np.float32(value)) if isinstance(value, (int, float)) else None
    if not has(node, 2, "value"):
        return b""
    array = known_value(node.inputs[2])
    return None if array is None or array.size != 1 or array.dtype == object else _bytes(array.reshape(-1)[0])


def _bytes(value: np.generic) -> bytes:
    found = value.tobytes()
    return found if any(found) else b""


def _respell(edit: ir.Edit, first: ir.Node, second: ir.Node, pads: list[int], opset: int) -> None:
    attrs = {name: value for name, value in second.attrs.items() if name not in ("pads", "paddings")}
    source = first.inputs[0]
    if opset < _TAKES_INPUT_FROM:
        name = "paddings" if "paddings" in second.attrs else "pads"
        respell(edit, second, "Pad", [source], {**attrs, name: pads})
    else:
        value = [second.inputs[2]] if has(second, 2, "value") else []
        respell(edit, second, "Pad", [source, int64s(edit, second, "pads", pads), *value], attrs)
    edit.remove(first)
