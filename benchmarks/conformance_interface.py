"""Whether an optimized model is called as before: inputs and outputs by name, order and declared type."""

from __future__ import annotations

from typing import Any

from onnx import ModelProto


def interface_change(before: ModelProto, after: ModelProto) -> str:
    """What changed of the inputs and outputs; empty where they have the same names in the same order, and types that
    say the same or more."""
    for what in ("input", "output"):
        one, other = _infos(before, what), _infos(after, what)
        if [info.name for info in one] != [info.name for info in other]:
            return f"the {what}s are {[info.name for info in other]} instead of {[info.name for info in one]}"
        for info, now in zip(one, other, strict=True):
            if not _refines(info.type, now.type):
                return f"{what} '{info.name}' is declared {_flat(now.type)} instead of {_flat(info.type)}"
    return ""


def _infos(model: ModelProto, what: str) -> list[Any]:
    """Inputs or outputs; an initializer that a file of an old IR version lists is no input."""
    listed = {tensor.name for tensor in model.graph.initializer} if what == "input" and model.ir_version < 4 else set()
    return [info for info in getattr(model.graph, what) if info.name not in listed]


def _refines(before: Any, after: Any) -> bool:
    """Whether a TypeProto says all that another says: more only where that leaves a dimension or a shape open."""
    kind = before.WhichOneof("value")
    if kind != after.WhichOneof("value"):
        return kind is None
    one, other = getattr(before, kind or "tensor_type"), getattr(after, kind or "tensor_type")
    if kind != "tensor_type":
        return bool(_flat(before) == _flat(after)) or _refines(one.elem_type, other.elem_type)
    if one.elem_type != other.elem_type:
        return False
    if not one.HasField("shape"):
        return True
    return len(one.shape.dim) == len(other.shape.dim) and all(
        a.WhichOneof("value") is None or (a.dim_value, a.dim_param) == (b.dim_value, b.dim_param)
        for a, b in zip(one.shape.dim, other.shape.dim, strict=True)
    )


def _flat(message: Any) -> str:
    return " ".join(str(message).split())
