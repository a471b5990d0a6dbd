"""Which units of a model become narrow: all that can, where the values that only pass through make no more Casts."""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.ir import dtypes
from onnxopt.ir.values import SparseValues
from onnxopt.linear.match import constant_of
from onnxopt.quantization.narrow.limits import Ends, Limits, ends_of, narrow_dtype
from onnxopt.quantization.narrow.operators import DIVIDING, SATURATING, turns_batch_inside
from onnxopt.quantization.narrow.units import Place, Unit, Units

_QUANTIZING = ("QuantizeLinear", "DequantizeLinear")
_INTEGERS = "iub"
_INDEX = "it computes with integers in floats, for indices or sizes, which have to be exact"


def keep_matching(graph: ir.Graph, units: Units, patterns: Iterable[str]) -> None:
    """Keep in float32 the nodes whose name or operator a pattern matches, with all that is in their bodies.

    Raises:
        BadOption: A pattern matches no node.
    """
    for pattern in patterns:
        hits = {node for node in ir.every_node(graph) if _matches(node, pattern)}
        if not hits:
            raise BadOption(
                f"convert-float16: keep={pattern} matches no node: give the name of a node or operator; "
                "names may hold * and ?"
            )
        inside = {node for hit in hits for body in hit.subgraphs(recursive=True) for node in body.nodes}
        _keep(units.all, hits | inside, f"keep={pattern}")


def _matches(node: ir.Node, pattern: str) -> bool:
    names = (node.name, node.op) if node.name else (node.op, *(tensor.name for tensor in node.outputs))
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _keep(units: Iterable[Unit], nodes: set[ir.Node], reason: str) -> None:
    for unit in units:
        if unit.node in nodes and not unit.reason:
            unit.reason = reason


def keep_quantized(units: Units) -> None:
    """Keep what stands between DequantizeLinear and QuantizeLinear: engines fuse those three to an integer kernel."""
    for unit in units.all:
        before = any(t.producer is not None and t.producer.is_op(*_QUANTIZING) for t in unit.node.inputs)
        behind = any(reader.is_op(*_QUANTIZING) for t in unit.node.outputs for reader in t.outputs)
        if (before or behind) and not unit.reason:
            unit.reason = "it is next to QuantizeLinear or DequantizeLinear, and may be computed in integers"


def keep_fragile(units: Units) -> None:
    """Keep what onnxruntime does not survive in a narrow type; see `turns_batch_inside`."""
    for unit in units.all:
        perm = unit.node.attr("perm")
        if unit.node.is_op("Transpose") and not unit.reason and isinstance(perm, list) and turns_batch_inside(perm):
            readers = list(unit.node.outputs[0].outputs)
            readers += [r for node in readers if node.is_op("Cast", "Identity") for r in node.outputs[0].outputs]
            if any(node.is_op("MatMul") and any(constant_of(t) is not None for t in node.inputs) for node in readers):
                unit.reason = "onnxruntime dies of it before a MatMul by a constant, in a narrow type"


def keep_index_arithmetic(units: Units) -> None:
    """Keep floats that are made of integers and become sizes, indices, or the truth about them.

    float16 has not every integer above 2048.
    """
    made: set[ir.Tensor] = set()
    for node in units.scope_of:
        floats = [tensor for tensor in node.inputs if units.is_float32(tensor)]
        if node.is_op("Cast"):
            dtype = units.dtype(node.inputs[0]) if isinstance(node.inputs[0], ir.Variable) else None
            if node.inputs[0] in made or (dtype is not None and dtype.kind in _INTEGERS):
                made.update(tensor for tensor in node.outputs if units.is_float32(tensor))
        elif any(t in made for t in floats) and all(t in made or constant_of(t) is not None for t in floats):
            made.update(tensor for tensor in node.outputs if units.is_float32(tensor))
    if not made:
        return
    exact = {place.tensor for place in units.wide if isinstance(place.holder, ir.Node)} & made
    nodes: set[ir.Node] = set()
    for node in units.scope_of:
        floats = [tensor for tensor in node.inputs if tensor in made]
        if floats and not node.is_op("Shape", "Size") and any(
            tensor.name and (dtype := units.dtype(tensor)) is not None and dtype.kind in _INTEGERS
            for tensor in node.outputs
        ):  # fmt: skip
            nodes.add(node)
            exact.update(floats)
    pending = list(exact)
    while pending:
        producer = pending.pop().producer
        if producer is not None and producer not in nodes:
            nodes.add(producer)
            pending += [tensor for tensor in producer.inputs if tensor in made]
    _keep(units.all, nodes, _INDEX)


class Losses:
    """Keeps in float32 what reads or writes a tensor that the narrow type cannot hold.

    Also what computes a value that a number of no size is added to (1e-10, say, before a logarithm): it matters where
    it is as small as that.
    """

    def __init__(self, units: Units, limits: Limits, seen: Mapping[str, Ends], told: Callable[[str], None]) -> None:
        self._units, self._limits, self._seen, self._told = units, limits, seen, told
        self._complaints: dict[ir.Tensor, str] = {}

    def keep(self) -> None:
        """Look at each unit that may become narrow."""
        addends: list[tuple[Unit, str]] = []
        for unit in self._units.all:
            if unit.reason:
                continue
            reads = [(place.tensor, self._of_input(place)) for place in unit.reads]
            for tensor, complaint in reads + [(tensor, self.of(tensor)) for tensor in unit.writes]:
                if complaint:
                    unit.reason = f"'{tensor.name}' {complaint}"
                    self._told(unit.reason)
                    if unit.node.is_op("Add") and constant_of(tensor) is not None and not self._is_large(tensor):
                        addends.append((unit, tensor.name))
                    break
        for unit, name in addends:
            for place in unit.reads:
                writer = self._units.writer.get(place.tensor)
                if writer is not None and not writer.reason and not writer.is_free:
                    writer.reason = f"it matters where it is as small as '{name}', which is added to it"

    def of(self, tensor: ir.Tensor) -> str:
        """What is lost of a tensor; "" for nothing, or nothing that is known."""
        if tensor not in self._complaints:
            divides = any(
                DIVIDING.get(reader.op) == at and reader.is_standard
                for reader in dict.fromkeys(tensor.outputs) for at, read in enumerate(reader.inputs) if read is tensor
            )  # fmt: skip
            self._complaints[tensor] = self._limits.complaint(self._find(tensor), divides=divides)
        return self._complaints[tensor]

    def _is_large(self, tensor: ir.Tensor) -> bool:
        ends = self._find(tensor)
        return ends is not None and ends.magnitude > 1

    def _of_input(self, place: Place) -> str:
        node = place.holder
        if isinstance(node, ir.Node) and place.index in SATURATING.get(node.op, ()) and node.is_standard:
            return "" if constant_of(place.tensor) is not None else self.of(place.tensor)
        return self.of(place.tensor)

    def _find(self, tensor: ir.Tensor) -> Ends | None:
        constant = constant_of(tensor)
        if constant is None and isinstance(tensor, ir.Variable):
            constant = tensor.default
        if constant is not None:
            return None if isinstance(constant._values, SparseValues) else ends_of(constant.read())
        return self._seen.get(tensor.name) if self._units.writer.get(tensor) not in self._units.inner else None


def settle_free(units: Units, narrow_io: bool) -> set[Unit]:
    """The units that become narrow.

    Those that compute do, unless they have a reason; connected ones that only move values do as a whole, where that
    takes no more Casts.

    Args:
        units: Of the model.
        narrow_io: Whether inputs and outputs of the main graph are narrow.
    """
    return _Settling(units, narrow_io).run()


class _Settling:
    def __init__(self, units: Units, narrow_io: bool) -> None:
        self._units, self._narrow_io = units, narrow_io
        self._inputs = set(units.graph.inputs)
        self._open: set[Unit] = set()
        """Those of which nothing is known yet."""
        self._chosen = {unit for unit in units.all if not unit.reason and not unit.is_free}
        self._readers: dict[ir.Tensor, list[Unit | bool]] = defaultdict(list)
        """Units, or whether a reader that has no choice is narrow."""
        for unit in units.all:
            for place in unit.reads:
                self._readers[place.tensor].append(unit)
        for place in units.wide:
            self._readers[place.tensor].append(narrow_io and place.holder is units.graph)

    def run(self) -> set[Unit]:
        groups = _groups([unit for unit in self._units.all if not unit.reason and unit.is_free], self._units)
        self._open = {unit for group in groups for unit in group}
        for group in groups:
            members = set(group)
            tensors = dict.fromkeys(tensor for unit in group for tensor in unit.tensors)
            narrow, wide = (sum(self._casts(tensor, members, to) for tensor in tensors) for to in (True, False))
            if narrow < wide or (narrow == wide and any(self._touches(tensor) for tensor in tensors)):
                self._chosen |= members
            self._open -= members
        return self._chosen

    def _touches(self, tensor: ir.Tensor) -> bool:
        """Whether what computes in the narrow type writes or reads a tensor."""
        around = (self._units.writer.get(tensor), *self._readers[tensor])
        return any(isinstance(each, Unit) and each in self._chosen for each in around)

    def _is_narrow(self, tensor: ir.Tensor) -> bool:
        """Whether a tensor is narrow, or will be, as far as that is decided."""
        dtype = self._units.dtype(tensor) if tensor.name else None
        narrow = dtype is not None and dtypes.same(dtype, narrow_dtype(self._units.type_))
        is_input = self._narrow_io and tensor in self._inputs and self._units.is_float32(tensor)
        return narrow or is_input or self._units.writer.get(tensor) in self._chosen

    def _casts(self, tensor: ir.Tensor, members: set[Unit], to: bool) -> int:
        """How many Casts of a tensor there are, with `members` narrow or not."""
        if isinstance(tensor, ir.Constant):
            return 0
        wants = {
            each if isinstance(each, bool) else to if each in members else each in self._chosen
            for each in self._readers[tensor]
            if isinstance(each, bool) or each in members or each not in self._open
        }
        writer, node = self._units.writer.get(tensor), tensor.producer
        if writer is not None:
            return int((not (to if writer in members else writer in self._chosen)) in wants)
        if node is not None and node.is_op("Cast"):
            return int(False in wants) + int(True in wants and not self._is_narrow(node.inputs[0]))
        return int((not (self._narrow_io and tensor in self._inputs)) in wants)


def _groups(free: list[Unit], units: Units) -> list[list[Unit]]:
    """Units that hand tensors to each other."""
    among, found, seen = set(free), [], set[Unit]()
    beside: dict[Unit, list[Unit]] = defaultdict(list)
    for unit in free:
        for place in unit.reads:
            other = units.writer.get(place.tensor)
            if other in among and other is not None:
                beside[unit].append(other)
                beside[other].append(unit)
    for unit in free:
        if unit in seen:
            continue
        group, pending = [], [unit]
        seen.add(unit)
        while pending:
            group.append(at := pending.pop())
            fresh = [other for other in beside[at] if other not in seen]
            seen.update(fresh)
            pending += list(dict.fromkeys(fresh))
        found.append(group)
    return found
