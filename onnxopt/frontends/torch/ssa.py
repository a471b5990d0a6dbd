"""One name, one value: torch's dynamo exporter (2.13 to 2.15) calls an output as asked for, even if a value inside has
that name already, and the model is then none.

The nodes stand in the order in which they run, so whoever reads the name means the producer before it, and the output
means the last one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from onnx import GraphProto, ModelProto, NodeProto


def repair(model: ModelProto) -> list[str]:
    """Rename all but the last producer of every value that is produced several times; return their old names.

    Args:
        model: Edited in place. Its local functions are not looked at.
    """
    graph = model.graph
    left = Counter(name for node in graph.node for name in node.output if name)
    left.update(tensor.name for tensor in graph.initializer)
    repeated = [name for name, times in left.items() if times > 1]
    if not repeated:
        return []
    taken = _names(graph)
    current: dict[str, str] = {}
    for tensor in graph.initializer:
        if tensor.name in repeated:
            left[tensor.name] -= 1
            current[tensor.name] = _fresh(tensor.name, taken)
            tensor.name = current[tensor.name]
    for node in graph.node:
        _read(node, current)
        for index, name in enumerate(node.output):
            if name in repeated:
                left[name] -= 1
                current[name] = _fresh(name, taken) if left[name] else name
                node.output[index] = current[name]
    for info in [info for info in graph.value_info if info.name in repeated]:
        graph.value_info.remove(info)  # whose it was is not known
    return repeated


def _read(node: NodeProto, current: dict[str, str]) -> None:
    """Let a node, and the graphs within it, read the values of now."""
    for index, name in enumerate(node.input):
        node.input[index] = current.get(name, name)
    for graph in _inner(node):
        own = {name for inner in graph.node for name in inner.output} | {tensor.name for tensor in graph.initializer}
        own |= {info.name for info in graph.input}
        seen = {name: new for name, new in current.items() if name not in own}
        for inner in graph.node:
            _read(inner, seen)
        for info in graph.output:
            info.name = seen.get(info.name, info.name)


def _inner(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        yield from (attribute.g,) if attribute.HasField("g") else attribute.graphs


def _names(graph: GraphProto) -> set[str]:
    found = {info.name for info in (*graph.input, *graph.output)} | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        found |= {*node.input, *node.output}
        for inner in _inner(node):
            found |= _names(inner)
    return found


def _fresh(name: str, taken: set[str]) -> str:
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    taken.add(f"{name}_{number}")
    return f"{name}_{number}"
