"""Move the Transposes of one scope to where fewer of them do."""

from __future__ import annotations

from onnxopt.ir.matching import Gate
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.layout.merge import merge
from onnxopt.layout.permutation import Perm, inverse, is_identity
from onnxopt.layout.region import Region, Unit
from onnxopt.layout.rewrite import rewrite
from onnxopt.layout.transposes import Transposes

Refusals = dict[tuple[Node, str], None]


def sink(around: Transposes, opset: int, gate: Gate, refusals: Refusals) -> None:
    """Look around every Transpose once, as it is pushed down and as it is pulled up; collect why some stay."""
    merge(around, gate)
    looked_at: set[tuple[Tensor, Perm]] = set()
    for node in list(around.nodes):
        for down in (True, False):
            perm = around.perm(node)
            if perm is None or is_identity(perm):
                break
            start = (node.outputs[0], perm) if down else (node.inputs[0], inverse(perm))
            if start not in looked_at:
                _look(around, opset, gate, refusals, looked_at, node, start)


def _look(
    around: Transposes,
    opset: int,
    gate: Gate,
    refusals: Refusals,
    looked_at: set[tuple[Tensor, Perm]],
    node: Node,
    start: tuple[Tensor, Perm],
) -> None:
    region = Region(around, opset)
    region.grow(*start)
    looked_at.add(start)
    if region.units:
        moved = region.best()
        if moved and _pays(region, moved, gate, node):
            rewrite(region, moved)
            return
        refusals[node, f"moved through any of the {len(region.units)} nodes around it, as many would be needed"] = None
    looked_at.update(region.layout.items())
    refusals.update(dict.fromkeys(region.obstacles.items()))


def _pays(region: Region, moved: set[Unit], gate: Gate, node: Node) -> bool:
    before, after = region.cost(set()), region.cost(moved)
    return after < before and gate.allow(_what(before, after, len(moved)), node)


def _what(before: tuple[int, int], after: tuple[int, int], moved: int) -> str:
    nodes = f"{moved} node{'s' if moved > 1 else ''}"
    if after[0] == before[0]:
        return f"moved past {nodes}, where it moves fewer elements or parts no nodes that belong together"
    return f"moved past {nodes}: of {before[0]} Transposes {after[0]} {'is' if after[0] == 1 else 'are'} left"
