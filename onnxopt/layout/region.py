"""The part of a scope that one permutation can reach, and what of it should work in the other layout."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.layout.axis_rules import RULES as AXIS_RULES
from onnxopt.layout.cut import ENDLESS, Network
from onnxopt.layout.elementwise_rules import RULES as ELEMENTWISE_RULES
from onnxopt.layout.elementwise_rules import is_plain
from onnxopt.layout.move import Arrival, Move, Rule
from onnxopt.layout.permutation import Perm, compose, inverse, is_identity
from onnxopt.layout.reduction_rules import RULES as REDUCTION_RULES
from onnxopt.layout.reshape_rules import RULES as RESHAPE_RULES
from onnxopt.layout.together import belong_together
from onnxopt.layout.transposes import Transposes
from onnxopt.linear.match import constant_of

RULES: dict[str, Rule] = {**ELEMENTWISE_RULES, **AXIS_RULES, **REDUCTION_RULES, **RESHAPE_RULES}
ABSORBING = ("Gemm",)
"""Operators that take each input in either layout, whatever the others are in."""
_BFLOAT16_FROM = 13
MOST_NODES = 2000
"""A region ends after so many nodes, so that each Transpose costs a bounded time."""
_MOST_READERS = 256
"""A tensor of more readers is left in its layout, since every region would look at all of them."""
_NODE = 1 << 64
"""The cost of a node, in elements: no number of them outweighs one."""
_OPEN_DIM = 64
"""What a dimension that is not certain counts for where two places for a Transpose are weighed."""
LARGEST_CONSTANT = 1 << 22
"""Elements of a constant that is written in another layout."""
_LARGEST_SHARED = 1 << 12
"""Elements of one that others read too, so that the model grows."""


@dataclass(eq=False)
class Unit:
    """A node that may be moved; of Gemm, one of its inputs."""

    node: Node
    move: Move


@dataclass
class Region:
    """What one permutation reaches from one tensor."""

    around: Transposes
    opset: int
    layout: dict[Tensor, Perm] = field(default_factory=dict)
    """Of each tensor that may be held in another layout: what makes the old one of the new one."""
    units: list[Unit] = field(default_factory=list)
    moved: set[Node] = field(default_factory=set)
    """Nodes of the units."""
    by_output: dict[Tensor, Unit] = field(default_factory=dict)
    by_input: dict[tuple[Node, int], Unit] = field(default_factory=dict)
    roots: dict[Tensor, tuple[Tensor, Perm | None]] = field(default_factory=dict)
    by_root: dict[Tensor, Tensor] = field(default_factory=dict)
    obstacles: dict[Node, str] = field(default_factory=dict)
    """Nodes that nearly could be moved, and why not."""

    def grow(self, start: Tensor, perm: Perm) -> None:
        """Find everything that the permutation reaches."""
        if not self._admit({start: perm}):
            return
        pending = deque([start])
        seen: set[tuple[Node, int, bool]] = set()
        while pending:
            tensor = pending.popleft()
            ends = [(node, index, True) for node, index in self.around.uses(tensor)]
            if tensor.producer is not None:
                ends.append((tensor.producer, _index(tensor.producer.outputs, tensor), False))
            for end in ends:
                if end not in seen and len(self.units) < MOST_NODES:
                    seen.add(end)
                    pending.extend(self._reach(end, self.layout[tensor]))

    def _reach(self, end: tuple[Node, int, bool], perm: Perm) -> list[Tensor]:
        """Look at a node that reads or gives a tensor of the region; return tensors that belong to it now."""
        node, index, is_input = end
        if not node.is_standard or node not in self.around.home or self._has_unit(node, index, is_input):
            return []
        rule = RULES.get(node.op)
        if (
            rule is None
            or not self.around.is_whole(node, self.opset)
            or (node in self.moved and node.op not in ABSORBING)
        ):
            return []
        try:
            move = rule(node, Arrival(perm, index, is_input), self.around.facts, self.opset)
            return [] if move is None else self._include(Unit(node, move))
        except NoMatch as reason:
            self.obstacles[node] = str(reason)
            return []

    def _has_unit(self, node: Node, index: int, is_input: bool) -> bool:
        return (node, index) in self.by_input if is_input else node.outputs[index] in self.by_output

    def _include(self, unit: Unit) -> list[Tensor]:
        """Make a node a part of the region, if its other tensors can be held in the layouts that it asks for."""
        node, move = unit.node, unit.move
        wanted: dict[Tensor, Perm] = {}
        for tensor, perm in (
            *zip(node.inputs, move.inputs, strict=True),
            *zip(node.outputs, move.outputs, strict=False),
        ):
            if perm is None or not tensor.name:
                continue
            constant = constant_of(tensor)
            if constant is not None:
                _may_be_rewritten(constant, tensor)
            elif wanted.setdefault(tensor, perm) != perm:
                raise NoMatch(f"it would need '{tensor.name}' in two layouts")
        new = {tensor: perm for tensor, perm in wanted.items() if tensor not in self.layout}
        if any(self.layout.get(tensor, perm) != perm for tensor, perm in wanted.items()) or not self._admit(new):
            raise NoMatch("what else it reads or gives is transposed otherwise")
        self.units.append(unit)
        self.moved.add(node)
        for index, perm in enumerate(move.inputs):
            if perm is not None:
                self.by_input[node, index] = unit
        for tensor, perm in zip(node.outputs, move.outputs, strict=False):
            if perm is not None and tensor.name:
                self.by_output[tensor] = unit
        return list(new)

    def _admit(self, tensors: dict[Tensor, Perm]) -> bool:
        """Let tensors be held in other layouts; of a tensor and its Transposes only one may be."""
        roots = {tensor: self.around.root(tensor) for tensor in tensors}
        if len({root for root, _ in roots.values()}) < len(roots):
            return False
        for tensor, (root, _) in roots.items():
            if constant_of(tensor) is not None or root in self.by_root or tensor.name in self.around.annotated:
                return False
            if tensor.type not in (None, "tensor_type") or len(root.outputs) + len(tensor.outputs) > _MOST_READERS:
                return False
            if not is_plain(tensor.dtype) or (
                self.opset < _BFLOAT16_FROM and tensor.dtype is not None and tensor.dtype.kind == "V"
            ):
                return False
        self.layout.update(tensors)
        self.roots.update(roots)
        self.by_root.update((root, tensor) for tensor, (root, _) in roots.items())
        return True

    def best(self) -> set[Unit]:
        """The nodes to move, so that the fewest and smallest Transposes are needed; may be none.

        Each tensor costs a node for every layout but that of its producer in which somebody reads it. Which nodes to
        move is then a minimum cut; of several the one that moves least.
        """
        network = Network()
        numbers = {unit: network.node() for unit in self.units}
        for tensor in self.layout:
            self._price(network, numbers, tensor)
        side = network.source_side()
        return {unit for unit, number in numbers.items() if number in side}

    def _price(self, network: Network, numbers: dict[Unit, int], tensor: Tensor) -> None:
        root, alias = self.roots[tensor]
        cost = _NODE + self._size(tensor)
        movers = {self.by_input.get(use) for use in self.around.uses(tensor)}
        old_stays = None in movers or self.around.edit.is_output(tensor)
        readers = [numbers[unit] for unit in movers if unit is not None]
        taken = self.layouts_needed(root, tensor)
        new = inverse(self.layout[tensor]) if alias is None else compose(alias, inverse(self.layout[tensor]))
        maker = numbers.get(self.by_output[tensor]) if tensor in self.by_output else None
        if maker is None:
            if alias is not None and not is_identity(alias) and not old_stays and alias not in taken and readers:
                every = network.node()  # on the source's side only with every reader
                network.edge(Network.SOURCE, every, cost)
                for reader in readers:
                    network.edge(every, reader, ENDLESS)
            if not is_identity(new) and new not in taken:
                some = network.node()  # on the source's side with any reader
                network.edge(some, Network.SINK, cost)
                for reader in readers:
                    network.edge(reader, some, ENDLESS)
            return
        if old_stays:
            network.edge(maker, Network.SINK, cost)
        elif readers:
            every = network.node()
            network.edge(maker, every, cost)
            for reader in readers:
                network.edge(every, reader, ENDLESS)
        if new in taken:
            network.edge(Network.SOURCE, maker, cost)
        elif readers:
            some = network.node()
            network.edge(some, maker, cost)
            for reader in readers:
                network.edge(reader, some, ENDLESS)

    def layouts_needed(self, root: Tensor, but: Tensor) -> set[Perm]:
        """The layouts of a tensor that are needed whatever is moved."""
        return {
            perm
            for node, perm in self.around.of(root)
            if node.outputs[0] is not but and self.around.is_needed(node.outputs[0])
        }

    def cost(self, moved: set[Unit]) -> tuple[int, int]:
        """Nodes that the layouts of the region's tensors take, and the elements that those move."""
        nodes = elements = 0
        for tensor in self.layout:
            root, alias = self.roots[tensor]
            old = tuple(range(len(self.layout[tensor]))) if alias is None else alias
            new = compose(old, inverse(self.layout[tensor]))
            needed = self.layouts_needed(root, tensor)
            for use in self.around.uses(tensor):
                needed.add(new if self.by_input.get(use) in moved else old)
            if self.around.edit.is_output(tensor):
                needed.add(old)
            made = new if self.by_output.get(tensor) in moved else tuple(range(len(old)))
            needed.discard(made)
            nodes += len(needed)
            elements += len(needed) * self._size(tensor)
        return nodes, elements

    def _size(self, tensor: Tensor) -> int:
        """What a Transpose of a tensor moves, in elements; twice that where it parts nodes that belong together."""
        shape = self.around.facts.shape(tensor)
        size: int = _OPEN_DIM ** len(self.layout[tensor])
        if shape is not None:
            size = min(math.prod(_OPEN_DIM if dim is None else dim for dim in shape), 1 << 48)
        readers = (reader for reader, _ in self.around.uses(tensor))
        return 2 * size if belong_together(self.roots[tensor][0].producer, readers) else size


def _index(tensors: list[Tensor], tensor: Tensor) -> int:
    return next(index for index, given in enumerate(tensors) if given is tensor)


def _may_be_rewritten(constant: Constant, tensor: Tensor) -> None:
    size = math.prod(constant.shape)
    if size > LARGEST_CONSTANT:
        raise NoMatch(f"its constant '{tensor.name}' is large, and would be written anew")
    if size > _LARGEST_SHARED and len(tensor.outputs) > 1:
        raise NoMatch(f"its constant '{tensor.name}' has other readers, and the model would grow")
