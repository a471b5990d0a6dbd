"""Whether an operator takes the types at another opset that a node gives it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache

from onnxopt.ir.schema import Schema
from onnxopt.ir.tensor import Tensor
from onnxopt.opsets.draft import Draft, Source

_Formal = Schema.FormalParameter


def require_types(draft: Draft, old: Schema, new: Schema, opset: int) -> None:
    """Ask for types only where the new schema takes fewer than the old one did.

    Raises:
        Refused: It does not take one of them, or one is not known.
    """
    narrower = takes_less(old, new)
    if not narrower:
        return
    allowed = _allowed(new)
    bound: dict[str, tuple[str, str]] = {}
    outputs: list[Source] = [tensor if tensor.name else None for tensor in draft.node.outputs[: draft.outputs]]
    for formal, tensor in (*_paired(new.inputs, draft.inputs), *_paired(new.outputs, outputs)):
        if formal.type_str not in narrower:
            continue
        found = draft.facts.type_text(tensor)
        if found is None:
            draft.refuse(
                f"not every type of '{formal.name}' is taken at opset {opset}, and that of '{tensor.name}' is not "
                "known: infer-shapes or inline-functions first"
            )
        if found not in allowed.get(formal.type_str, (formal.type_str,)):
            draft.refuse(f"'{tensor.name}' is {found}, which it does not take at opset {opset}")
        if formal.is_homogeneous and formal.type_str in allowed:
            first, name = bound.setdefault(formal.type_str, (found, tensor.name))
            if first != found:
                draft.refuse(
                    f"'{name}' is {first} and '{tensor.name}' {found}; it takes them of one type only at opset {opset}"
                )


@lru_cache(maxsize=1024)
def takes_less(old: Schema, new: Schema) -> frozenset[str]:
    """The types of the new schema's parameters that allow less than the old schema's in the same places."""
    if old.name != new.name:  # Upsample to Resize, Scatter to ScatterElements: these take more
        return frozenset()
    before, after = _allowed(old), _allowed(new)
    grouped: defaultdict[str, set[str]] = defaultdict(set)
    found = set()
    for olds, news in ((old.inputs, new.inputs), (old.outputs, new.outputs)):
        for index, formal in enumerate(news):
            was = olds[min(index, len(olds) - 1)] if olds else formal
            grouped[formal.type_str].add(was.type_str)
            if not before.get(was.type_str, {was.type_str}) <= after.get(formal.type_str, {formal.type_str}):
                found.add(formal.type_str)
    return frozenset(found | {name for name, parts in grouped.items() if len(parts) > 1})


@lru_cache(maxsize=1024)
def _allowed(schema: Schema) -> dict[str, frozenset[str]]:
    return {each.type_param_str: frozenset(each.allowed_type_strs) for each in schema.type_constraints}


def _paired(formals: Sequence[_Formal], sources: Sequence[Source]) -> Iterator[tuple[_Formal, Tensor]]:
    """The tensors of the model among the inputs or outputs; the last parameter may be variadic."""
    for index, source in enumerate(sources):
        if isinstance(source, Tensor) and formals:
            yield formals[min(index, len(formals) - 1)], source
