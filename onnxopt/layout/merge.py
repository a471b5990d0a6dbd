"""Transposes of Transposes: one does, or none."""

from __future__ import annotations

from onnxopt.ir.matching import Gate
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.layout.permutation import Perm, is_identity
from onnxopt.layout.transposes import Transposes


def merge(around: Transposes, gate: Gate) -> None:
    """Merge where a node fewer is left.

    That is: what undoes another is cut out; what follows one that only Transposes read takes its place; of two
    equal ones of one tensor, one is left.
    """
    while _sweep(around, gate):  # one that goes may leave the one before it to a single reader
        pass


def _sweep(around: Transposes, gate: Gate) -> bool:
    first: dict[tuple[Tensor, Perm], Node] = {}
    changed = False
    for node in list(around.nodes):
        perm = around.perm(node)
        if perm is None or not node.outputs[0].name:
            continue
        root, whole = around.root(node.outputs[0])
        assert whole is not None
        twin = first.get((root, whole))
        if twin is not None and around.edit.was_removed(twin):
            twin = None
        changed |= _merged(around, gate, node, root, whole, twin)
        if not around.edit.was_removed(node):
            first[root, whole] = twin or node
    return changed


def _merged(around: Transposes, gate: Gate, node: Node, root: Tensor, whole: Perm, twin: Node | None) -> bool:
    """Merge one Transpose with those before it, or with its twin."""
    output, before = node.outputs[0], node.inputs[0]
    source = root if is_identity(whole) else None if twin is None else twin.outputs[0]
    obstacle = None if source is None else around.edit.obstacle(output, source)
    if source is not None and obstacle is None:
        what = f"removed: it gives out '{root.name}'"
        if source is not root:
            what = f"replaced by '{source.name}', the same Transpose of '{root.name}'"
        if not gate.allow(what, node):
            return False
        around.edit.replace_all_uses(output, source)
        around.edit.remove(node)
    elif before is not root and not around.is_needed(before):
        if not gate.allow("merged with the Transpose before it", node):
            return False
        around.respell(node, root, whole)
    else:
        if obstacle is not None:
            gate.refuse(f"not replaced by '{root.name if source is None else source.name}': {obstacle}", node)
        return False
    if before.producer is not None:
        around.remove_unread(before.producer)
    return True
