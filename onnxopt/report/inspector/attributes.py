"""Attributes of a node as short text."""

from __future__ import annotations

from typing import Any

from onnxopt import ir
from onnxopt.ir.node import PLAIN

_MOST = 400
"""Characters of one attribute."""


def attribute_texts(node: ir.Node) -> tuple[tuple[str, str], ...]:
    """Name and value of each attribute; long values are cut, tensors and graphs are told of."""
    return tuple((name, _text(value)) for name, value in node.attrs.items())


def _text(value: Any) -> str:
    if isinstance(value, ir.Constant):
        return f"tensor {value.dtype}{list(value.shape)}"
    if isinstance(value, ir.Graph):
        return f"graph of {len(value.nodes)} nodes"
    if isinstance(value, list) and value and value[0].__class__ not in PLAIN:
        return f"{len(value)} values: {', '.join(_text(item) for item in value[:4])}"
    if isinstance(value, list):
        return _cut("[" + ", ".join(str(item) for item in value[:64]) + (", …]" if len(value) > 64 else "]"))
    if isinstance(value, ir.Node.AttributeRef):
        return f"@{value.name}"
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST]}… ({len(text)} characters)"
