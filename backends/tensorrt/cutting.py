"""What else the parser would refuse: it stops at the first node that it cannot convert.

The nodes that it refused are cut out, so that what they computed becomes inputs, and the rest is parsed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

from onnxopt.backends.tensorrt.wanted import ParserError

_ROUNDS = 64
"""How often it is parsed at most."""
_CUT = "cut.onnx"
Parse = Callable[[Path], tuple[ParserError, ...]]


def all_errors(model: Path, first: tuple[ParserError, ...], parse: Parse) -> tuple[ParserError, ...]:
    """The errors of a first parse, and those that were hidden behind them.

    Where the type of what a node computes is not known the search ends. What reads a value that was cut is not told of:
    it may be refused for that alone.

    Args:
        model: The file, in a folder in which another may be written. Its nodes have names.
        first: What the parser refused.
        parse: Asks it again.
    """
    proto = onnx.load(model, load_external_data=False)
    cutting = _Cutting(onnx.shape_inference.infer_shapes(proto))
    found = dict.fromkeys(first)
    errors = first
    for _ in range(_ROUNDS):
        if not cutting.cut({error.name for error in errors}):
            break
        onnx.save(cutting.model, model.with_name(_CUT))
        if not (errors := parse(model.with_name(_CUT))):
            break
        found.update(dict.fromkeys(error for error in errors if not cutting.reads_cut(error.name)))
    places = {node.name: index for index, node in enumerate(proto.graph.node)}
    return tuple(dict.fromkeys(ParserError(places.get(e.name, e.index), e.operator, e.name, e.reason) for e in found))


class _Cutting:
    """A model that becomes smaller."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.types = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
        self.made: set[str] = set()
        """The values that are inputs now."""

    def cut(self, names: set[str]) -> bool:
        """Make inputs of what the nodes of these names compute; False where that is not possible, or nothing is left.

        A node that has one of them in a subgraph goes as a whole.
        """
        graph = self.model.graph
        gone = [node for node in graph.node if names & set(_names(node))]
        made = {name for node in gone for name in node.output if name}
        if not gone or any(not _is_known(self.types.get(name)) for name in made & self._read(gone)):
            return False
        outputs = [value for value in graph.output if value.name not in made]
        for node in gone:
            graph.node.remove(node)
        graph.input.extend(self.types[name] for name in sorted(made & self._read(gone)))
        del graph.output[:]
        graph.output.extend(outputs)
        self.made |= made
        return bool(outputs and graph.node)

    def reads_cut(self, name: str) -> bool:
        """Whether the node of that name, or the one that it is inside of, reads what was cut."""
        return any(name in _names(node) and self.made & set(_inputs(node)) for node in self.model.graph.node)

    def _read(self, gone: list[NodeProto]) -> set[str]:
        return {name for node in self.model.graph.node if node not in gone for name in _inputs(node)}


def _is_known(value: ValueInfoProto | None) -> bool:
    return value is not None and value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")


def _names(node: NodeProto) -> Iterator[str]:
    yield node.name
    for graph in _graphs(node):
        for inner in graph.node:
            yield from _names(inner)


def _inputs(node: NodeProto) -> Iterator[str]:
    yield from node.input
    for graph in _graphs(node):
        for inner in graph.node:
            yield from _inputs(inner)


def _graphs(node: NodeProto) -> Iterable[GraphProto]:
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else attribute.graphs)
