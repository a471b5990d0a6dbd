"""What the ONNX operator specification says of a node's operator."""

from __future__ import annotations

from functools import lru_cache

from onnx import defs

from onnxopt.ir.node import DEFAULT_DOMAINS, Node

Schema = defs.OpSchema


@lru_cache(maxsize=4096)
def find_schema(op: str, domain: str | None, opset: int | None) -> Schema | None:
    """The schema of an operator at an opset; None where ONNX does not define it."""
    if opset is None:
        return None
    try:
        return defs.get_schema(op, opset, "" if domain in DEFAULT_DOMAINS else domain or "")
    except defs.SchemaError:
        return None


def is_optional_output(node: Node, index: int, opset: int | None) -> bool:
    """Whether the operator may leave this output out."""
    schema = find_schema(node.op, node.domain, opset)
    if schema is None or index >= len(schema.outputs):
        return False
    return bool(schema.outputs[index].option == Schema.FormalParameterOption.Optional)
