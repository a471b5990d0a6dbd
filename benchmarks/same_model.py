"""When two models say the same, field for field, empty ones included: only the order of what has names may differ."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice
from typing import Any

from google.protobuf import text_format
from onnx import GraphProto, ModelProto, NodeProto

_UNORDERED = ("initializer", "sparse_initializer", "value_info", "quantization_annotation", "metadata_props")
_SHOWN = 12
"""Lines."""


def difference(one: ModelProto, other: ModelProto) -> str:
    """The first lines in which two models differ; empty where they are equal. NaN equals NaN of the same bits."""
    left, right = canonical(one), canonical(other)
    if left.SerializeToString(deterministic=True) == right.SerializeToString(deterministic=True):
        return ""
    before, after = (text_format.MessageToString(model).splitlines() for model in (left, right))
    changed = difflib.unified_diff(before, after, "one", "other", lineterm="", n=1)
    return "\n".join(line[:200] for line in islice(changed, _SHOWN)) or "the bytes differ"


def canonical(model: ModelProto) -> ModelProto:
    """A copy with everything that has no order of its own sorted."""
    model = ModelProto.FromString(model.SerializeToString())
    _sort(model, ("metadata_props",))
    _sort_graph(model.graph)
    for function in model.functions:
        _sort(function, ("value_info", "metadata_props"))
        _sort_nodes(function.node)
    return model


def _sort_graph(graph: GraphProto) -> None:
    _sort_nodes(graph.node)
    _sort(graph, _UNORDERED)


def _sort_nodes(nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                _sort_graph(graph)
        _sort(node, ("attribute", "metadata_props"))


def _sort(message: Any, fields: Iterable[str]) -> None:
    for field in fields:
        items = getattr(message, field)
        if len(items) > 1:
            ordered = sorted(item.SerializeToString(deterministic=True) for item in items)
            kind = type(items[0])
            del items[:]
            items.extend(kind.FromString(data) for data in ordered)
