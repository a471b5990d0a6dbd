"""An attribute's value: as the node has it, or as the operator's schema says it is by default."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from onnx import helper

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.schema import find_schema


def value_of(node: Node, name: str, opset: int) -> tuple[Any, Any]:
    """The value that an attribute takes, and what the operator's default is; None where it has none.

    Raises:
        NoMatch: It is set by the caller of the function that holds the node.
    """
    default = _default(node.op, node.domain, opset, name)
    value = node.attrs.get(name, default)
    if isinstance(value, Node.AttributeRef):
        raise NoMatch(f"attribute '{name}' of {node.label} is set by the caller of the function")
    return value, default


@lru_cache(maxsize=4096)
def _default(op: str, domain: str | None, opset: int, name: str) -> Any:
    schema = find_schema(op, domain, opset)
    attribute = schema.attributes.get(name) if schema is not None else None
    if attribute is None or not attribute.default_value.name:
        return None
    value = helper.get_attribute_value(attribute.default_value)
    return value.decode() if isinstance(value, bytes) else value
