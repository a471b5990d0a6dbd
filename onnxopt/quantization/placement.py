"""Which tensors get a QuantizeLinear and a DequantizeLinear, who reads them, and which share one encoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from onnxopt import ir
from onnxopt.pipeline.quantization import QuantizationRules
from onnxopt.quantization.encoding import Integer
from onnxopt.quantization.operands import limits_of, value_inputs
from onnxopt.quantization.selection import Role, Selection

Use = tuple[ir.Node, int]
"""A node and one of its inputs."""
Key = tuple[ir.Tensor, Integer]
"""A tensor as these integers: one pair of QuantizeLinear and DequantizeLinear."""

_PASSING = (Role.SHARED, Role.FUSED, Role.BETWEEN)


@dataclass
class Placement:
    """Where the pairs go."""

    pairs: dict[Key, list[Use]] = field(default_factory=dict)
    """The uses that read what each pair gives."""
    whole: dict[ir.Tensor, Integer] = field(default_factory=dict)
    """Tensors that everybody reads dequantized, graph outputs included: their producer gives out these integers."""
    stored: dict[Use, Integer] = field(default_factory=dict)
    """Constants that an operator other than a layer reads, quantized as activations are."""
    links: list[tuple[Key | Use, Key | Use]] = field(default_factory=list)
    """Pairs, and stored constants, that share one encoding."""
    derived: set[Key] = field(default_factory=set)
    """Pairs whose values are among those of another in the same encoding: their ranges are not needed."""
    active: set[ir.Node] = field(default_factory=set)
    """The nodes that are quantized."""
    fused: set[ir.Node] = field(default_factory=set)
    """Activations that are one with what is before them."""


def place(
    graph: ir.Graph,
    rules: QuantizationRules,
    selection: Selection,
    integer: Callable[[ir.Node], Integer],
    is_sole: Callable[[ir.Tensor], bool],
) -> Placement:
    """Decide where the pairs go.

    Args:
        graph: The model.
        rules: Of the target.
        selection: What each node is.
        integer: What the activations of a node become.
        is_sole: Whether one node reads a tensor, once, and no graph gives it out.
    """
    return _Placing(graph, rules, selection, integer, is_sole).run()


class _Placing:
    def __init__(
        self,
        graph: ir.Graph,
        rules: QuantizationRules,
        selection: Selection,
        integer: Callable[[ir.Node], Integer],
        is_sole: Callable[[ir.Tensor], bool],
    ) -> None:
        self.rules, self.values, self.roles = rules, selection.values, selection.roles
        self.nodes = [node for node in graph.nodes if node in selection.roles]
        self.integer, self.is_sole = integer, is_sole
        self.fused = {node for node in self.nodes if self.roles[node] is Role.FUSED and self._is_fused(node)}
        self.found = Placement()
        active = (Role.LAYER, Role.COMPUTED)
        everywhere = (Role.SHARED, Role.FUSED) if rules.everywhere else ()
        self.active = {
            node for node in self.nodes if self.roles[node] in (*active, *everywhere) and node not in self.fused
        }
        self.wanted: set[ir.Tensor] = set()
        self.certain: dict[ir.Tensor, Integer] = {}

    def run(self) -> Placement:
        while self._drop_unfed() or self._drop_unread():
            pass
        for node in self.nodes:
            for index in self._quantized_inputs(node):
                self.certain.setdefault(node.inputs[index], self.integer(node))
        for node in self.nodes:
            self._place(node)
        self.found.active, self.found.fused = self.active, self.fused
        return self.found

    def _is_fused(self, node: ir.Node) -> bool:
        """Whether an activation is one with the layer or operator before it."""
        tensor = node.inputs[0]
        before = tensor.producer
        low, high = limits_of(node) or (None, None)
        return (
            self.roles.get(before) in (Role.LAYER, Role.COMPUTED)
            and self.is_sole(tensor)
            and (low is None or low <= 0)
            and (high is None or high >= 0)
        )

    def _inputs(self, node: ir.Node) -> list[ir.Tensor]:
        """The activations that a node reads."""
        return [node.inputs[index] for index in value_inputs(node) if node.inputs[index] not in self.values]

    def _drop_unfed(self) -> bool:
        """Leave operators in float to which values come in float: quantizing them would cost more than it saves."""
        if self.rules.everywhere:
            return False
        carried = {tensor for node in self.nodes if self.roles[node] is Role.LAYER for tensor in self._inputs(node)}
        dropped = False
        for node in self.nodes:
            inputs = self._inputs(node)
            fed = all(tensor in carried for tensor in inputs)
            if self.roles[node] is Role.COMPUTED and node in self.active and not fed:
                self.active.discard(node)
                dropped = True
            if node in self.active or (fed and inputs and self.roles[node] in _PASSING):
                carried.update(node.outputs)
        return dropped

    def _drop_unread(self) -> bool:
        """Leave operators in float whose values are wanted in float only."""
        dropped = False
        self.wanted = set()
        for node in reversed(self.nodes):
            is_wanted = any(tensor in self.wanted for tensor in node.outputs)
            if (
                self.roles[node] is Role.COMPUTED
                and node in self.active
                and not is_wanted
                and not self.rules.everywhere
            ):
                self.active.discard(node)
                dropped = True
            if node in self.active or (is_wanted and self.roles[node] in (Role.SHARED, Role.FUSED)):
                self.wanted.update(self._inputs(node))
        return dropped

    def _quantized_inputs(self, node: ir.Node) -> list[int]:
        """The activations that a node reads quantized whatever is before it."""
        if node in self.active:
            return [index for index in value_inputs(node) if node.inputs[index] not in self.values]
        if self.roles[node] is Role.RESIDUAL:
            return self._branch(node)
        return []

    def _branch(self, add: ir.Node) -> list[int]:
        """The operand of an Add beside one that a quantized layer gives to it alone."""
        for index, tensor in enumerate(add.inputs):
            layer = tensor.producer
            if layer in self.active and layer.op in self.rules.residual and self.is_sole(tensor):
                other = add.inputs[1 - index]
                return [] if other in self.values or other is tensor else [1 - index]
        return []

    def _place(self, node: ir.Node) -> None:
        if self.roles[node] is Role.SHARED:
            self._place_shared(node)
            return
        integer = self.integer(node)
        for index in self._quantized_inputs(node):
            self._read(node, index, integer)
        if node not in self.active:
            return
        if self.roles[node] is not Role.LAYER:
            for index in value_inputs(node):
                if node.inputs[index] in self.values and not self._is_weight(node, index):
                    self.found.stored[node, index] = integer
        if self.roles[node] is not Role.LAYER or node.op in self.rules.outputs:
            self._give(self._behind(node.outputs[0]), integer)

    def _is_weight(self, node: ir.Node, index: int) -> bool:
        return node.op in self.rules.normalizations and index > 0

    def _behind(self, tensor: ir.Tensor) -> ir.Tensor:
        """What the activations behind a tensor make of it."""
        while self.is_sole(tensor) and tensor.outputs[0] in self.fused:
            tensor = tensor.outputs[0].outputs[0]
        return tensor

    def _read(self, node: ir.Node, index: int, integer: Integer) -> Key:
        key = (node.inputs[index], integer)
        self.found.pairs.setdefault(key, []).append((node, index))
        return key

    def _give(self, tensor: ir.Tensor, integer: Integer) -> Key:
        self.found.whole[tensor] = integer
        self.found.pairs.setdefault((tensor, integer), [])
        return tensor, integer

    def _place_shared(self, node: ir.Node) -> None:
        """One encoding on both sides of a node that hands values on, if they come quantized and go on so."""
        sources = [index for index in value_inputs(node) if node.inputs[index] not in self.values]
        known = [self._integer_of(node.inputs[index]) for index in sources]
        if not any(known) or not (node in self.active or any(tensor in self.wanted for tensor in node.outputs)):
            return
        integer = max((each for each in known if each), key=lambda each: each.dtype.itemsize)
        reads = [self._read(node, index, integer) for index in sources]
        linked = [key for key in reads if not self._is_bounded(key[0])]
        linked = linked if 0 < len(linked) < len(reads) and self.rules.bounds == "encoded" else reads
        constants = [(node, index) for index in value_inputs(node) if node.inputs[index] in self.values]
        self.found.stored.update(dict.fromkeys(constants, integer))
        for given in node.outputs if node.op == "Split" else node.outputs[:1]:
            target = self._give(given, integer)
            self.found.links += [(key, target) for key in linked]
            self.found.links += [(use, target) for use in constants]
            if len(linked) == len(reads):
                self.found.derived.add(target)

    def _is_bounded(self, tensor: ir.Tensor) -> bool:
        """Whether a Relu or Clip makes it."""
        return tensor.producer is not None and tensor.producer.is_op("Clip", "Relu")

    def _integer_of(self, tensor: ir.Tensor) -> Integer | None:
        """As what a tensor is quantized anyway."""
        return self.found.whole.get(tensor) or self.certain.get(tensor)


@dataclass
class Shared:
    """Pairs and stored constants of one encoding."""

    pairs: list[Key] = field(default_factory=list)
    constants: list[Use] = field(default_factory=list)


def by_encoding(placement: Placement) -> list[Shared]:
    """The pairs and stored constants; those that are linked together."""
    parent: dict[Key | Use, Key | Use] = {}

    def root(item: Key | Use) -> Key | Use:
        while (above := parent.setdefault(item, item)) != item:
            parent[item] = parent.setdefault(above, above)
            item = above
        return item

    for one, other in placement.links:
        parent[root(one)] = root(other)
    found: dict[Key | Use, Shared] = {}
    for key in placement.pairs:
        found.setdefault(root(key), Shared()).pairs.append(key)
    for use in placement.stored:
        found.setdefault(root(use), Shared()).constants.append(use)
    return list(found.values())
