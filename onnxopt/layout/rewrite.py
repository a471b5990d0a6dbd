"""Let the chosen nodes of a region work in the other layout, and put Transposes where both are needed."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor, Variable
from onnxopt.layout.permutation import Perm, compose, inverse, is_identity
from onnxopt.layout.region import Region, Unit
from onnxopt.linear.match import constant_of, remove_if_dead


class Rewriter:
    """One rewrite of one region."""

    def __init__(self, region: Region, moved: set[Unit]) -> None:
        self.region, self.around, self.edit = region, region.around, region.around.edit
        self.moved = [unit for unit in region.units if unit in moved]
        self._new: dict[Tensor, Variable] = {}
        """For each tensor that was made in the old layout, the one that is made in the new one."""
        self._constants: dict[tuple[Tensor, Perm, int], Constant] = {}
        self._touched: dict[Tensor, None] = {}

    def run(self) -> None:
        """Do all of it."""
        found = {tensor: list(self.around.of(self.region.roots[tensor][0])) for tensor in self.region.layout}
        for unit in self.moved:
            self._give_new(unit)
        for unit in self.moved:
            self._read_new(unit)
        for unit in self.moved:
            if unit.move.apply is not None:
                unit.move.apply(self.edit, unit.node)
        for old, new in self._new.items():
            self._serve_old_readers(old, new, found[old])
        for tensor, transposes in found.items():
            if tensor not in self._new:
                self._skip_unneeded(self.region.roots[tensor][0], transposes)
        for transposes in found.values():
            for node, _ in reversed(transposes):
                self.around.remove_unread(node)

    def _give_new(self, unit: Unit) -> None:
        for index, (old, perm) in enumerate(zip(unit.node.outputs, unit.move.outputs, strict=False)):
            if perm is None or not old.name:
                continue
            new = Variable(self.edit.fresh(f"{_plain(old.name)}_moved"), old.dtype)
            if old.shape is not None and len(old.shape) == len(perm):
                new.shape = [old.shape[axis] for axis in inverse(perm)]
            self.around.facts.learn(new, old, inverse(perm))
            unit.node.outputs[index] = new
            self._new[old] = new
            self.edit.changed = True

    def _read_new(self, unit: Unit) -> None:
        for index, perm in enumerate(unit.move.inputs):
            old = unit.node.inputs[index]
            if perm is None or not old.name:
                continue
            if constant_of(old) is not None:
                rank = max(
                    (len(other) for other in (*unit.move.outputs, *unit.move.inputs) if other), default=len(perm)
                )
                self.edit.replace_input(unit.node, index, self._constant(old, perm, rank))
                remove_if_dead(self.edit, old)
            else:
                self.edit.replace_input(unit.node, index, self._in_new_layout(old, unit.node))

    def _constant(self, old: Tensor, perm: Perm, rank: int) -> Constant:
        """A constant in the new layout; one with fewer dimensions than the permutation gets as many as it needs."""
        key = (old, perm, rank)
        if key not in self._constants:
            constant = constant_of(old)
            assert constant is not None
            value = constant.read()
            full = value.reshape((1,) * (len(perm) - value.ndim) + value.shape)
            new = full.transpose(inverse(perm))
            while value.ndim < len(perm) and new.ndim > value.ndim and new.shape[0] == 1:
                new = new[0]
            name = self.edit.fresh(f"{_plain(old.name)}_moved")
            self._constants[key] = Constant(name, np.ascontiguousarray(new), export_dtype=constant._export_dtype)
        return self._constants[key]

    def _in_new_layout(self, old: Tensor, reader: Node) -> Tensor:
        """What a reader of a tensor reads instead."""
        if old in self._new:
            return self._new[old]
        root, alias = self.region.roots[old]
        undo = inverse(self.region.layout[old])
        perm = undo if alias is None else compose(alias, undo)
        if is_identity(perm):
            return root
        for node, other in self.around.of(root):
            if other == perm:
                return node.outputs[0]  # type: ignore[no-any-return]
        return self.around.insert(root, perm, reader)

    def _skip_unneeded(self, root: Tensor, transposes: list[tuple[Node, Perm]]) -> None:
        """Let Transposes read a tensor itself where only they read the one between."""
        for node, perm in transposes:
            between = node.inputs[0]
            if between is not root and not self.around.is_needed(between) and self.around.is_needed(node.outputs[0]):
                self.around.respell(node, root, perm)

    def _serve_old_readers(self, old: Tensor, new: Variable, transposes: list[tuple[Node, Perm]]) -> None:
        """Let the Transposes of a tensor that nothing makes now read the new one; make it where others read it."""
        perm = self.region.layout[old]
        for node, other in transposes:
            if self.edit.was_removed(node):
                continue
            if not self.around.is_needed(node.outputs[0]):
                self.edit.replace_input(node, 0, Variable.empty())  # those upon it read `new`; it goes
            else:
                self.around.respell(node, new, compose(perm, other))
        if self.edit.is_used(old):
            maker = new.producer
            node = Node(
                "Transpose", self.edit.fresh(f"{maker.name or new.name}_transpose"), {"perm": list(perm)}, [new], [old]
            )
            self.edit.insert_after(maker, node)
            self.around.add(node)


def _plain(name: str) -> str:
    """A name without the ending that an earlier move gave it."""
    return name.removesuffix("_moved")


def rewrite(region: Region, moved: set[Unit]) -> None:
    """Move the chosen nodes."""
    Rewriter(region, moved).run()
