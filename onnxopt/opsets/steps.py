"""One node from opset to opset: version by version of its operator."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from onnx import AttributeProto, defs, helper

from onnxopt.ir.schema import Schema
from onnxopt.opsets import (
    broadcasting,
    flattening,
    movement,
    normalization,
    quantizing,
    reductions,
    resizing,
    training,
    windows,
)
from onnxopt.opsets.draft import Adapter, Draft, schema_of
from onnxopt.opsets.element_types import require_types, takes_less

_MODULES = (broadcasting, flattening, movement, normalization, quantizing, reductions, resizing, training, windows)
UP: dict[tuple[str, int], Adapter] = {key: value for module in _MODULES for key, value in module.UP.items()}
"""What to do to a node, on the way up, where an operator got a new version: by the operator and that version."""
DOWN: dict[tuple[str, int], Adapter] = {key: value for module in _MODULES for key, value in module.DOWN.items()}
"""The same on the way down: back to before that version."""

OLDEST_SOURCE = 6
"""Of older opsets, only what did not change is converted: nearly every operator was another one then."""


def convert(draft: Draft, source: int, target: int) -> None:
    """Bring a node of the default domain from one opset to the other.

    Raises:
        Refused: That cannot be done, or cannot be known to be right.
    """
    first = schema_of(draft.op, source, withdrawn=True)
    if first is None:
        draft.refuse(f"the operator set of version {source} has no such operator")
    if source < target:
        _upwards(draft, source, target)
    else:
        _downwards(draft, source, target)
    last = schema_of(draft.op, target)
    if last is None:
        draft.refuse(f"the operator set of version {target} has no such operator{_since(first)}")
    if last is not first:
        require_types(draft, first, last, target)


@lru_cache(maxsize=4096)
def is_plain(op: str, source: int, target: int) -> bool:
    """Whether every node of an operator that is valid at the one opset means the same, as it is, at the other."""
    first, last = schema_of(op, source), schema_of(op, target)
    if first is None or last is None or first is last:
        return first is not None and first is last
    if source < OLDEST_SOURCE:
        return False
    low, high = sorted((source, target))
    table = UP if source < target else DOWN
    old = schema_of(op, low)
    for version in (each for each in _versions()[op] if low < each <= high):
        new = schema_of(op, version)
        if new is None or old is None or (op, version) in table or differs(old, new):
            return False
        old = new
    return not takes_less(first, last)


def _upwards(draft: Draft, source: int, target: int) -> None:
    version = source
    while (following := _next(draft.op, version, target)) is not None:
        old, version = schema_of(draft.op, version, withdrawn=True), following
        adapter = UP.get((draft.op, version))
        if adapter is not None:
            adapter(draft)
        new = schema_of(draft.op, version)
        if new is None:
            draft.refuse(f"opset {version} withdrew the operator")
        assert old is not None
        _fit(draft, old, new, version, adapted=adapter is not None)


def _downwards(draft: Draft, source: int, target: int) -> None:
    while (old := schema_of(draft.op, source)) is not None and old.since_version > target:
        version, source = old.since_version, old.since_version - 1
        new = schema_of(draft.op, source)
        if new is None:
            draft.refuse(f"the operator set of version {target} has no such operator{_since(old)}")
        adapter = DOWN.get((draft.op, version))
        if adapter is not None:
            adapter(draft)
        _fit(draft, old, new, source, adapted=adapter is not None)


def _fit(draft: Draft, old: Schema, new: Schema, opset: int, *, adapted: bool) -> None:
    """Check that what the node says means the same by the new schema; drop what only says a default."""
    if old.name == new.name and not differs(old, new):
        return
    for name in [name for name in draft.attrs if name not in new.attributes]:
        if name not in old.attributes:
            draft.refuse(f"it has no attribute '{name}' at opset {opset}")
        default = _default(old, name)
        if default is None or draft.attrs[name] != default:
            draft.refuse(f"'{name}' cannot be said at opset {opset}")
        del draft.attrs[name]
    for name, attribute in new.attributes.items():
        if name in draft.attrs:
            continue
        if attribute.required:
            draft.refuse(f"attribute '{name}' is required at opset {opset}")
        if not adapted and name in old.attributes and _default(old, name) != _default(new, name):
            draft.refuse(f"the default of '{name}' is another one at opset {opset}")
    if len(draft.inputs) > new.max_input:
        draft.refuse(f"it takes {new.max_input} inputs at opset {opset}, not {len(draft.inputs)}")
    for index, formal in enumerate(new.inputs):
        if formal.option == Schema.FormalParameterOption.Single and draft.given(index) is None:
            was_required = index < len(old.inputs) and old.inputs[index].option == formal.option
            if not was_required:  # else it is missing at either opset
                draft.refuse(f"input '{formal.name}' is required at opset {opset}")
    if draft.outputs > new.max_output:
        draft.refuse(f"it has {new.max_output} outputs at opset {opset}, not {draft.outputs}")


@lru_cache(maxsize=4096)
def _next(op: str, version: int, last: int) -> int | None:
    """The first version of an operator after `version`, up to `last`; one in which it is withdrawn counts."""
    return next((each for each in _versions().get(op, ()) if version < each <= last), None)


@lru_cache(maxsize=1)
def _versions() -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for schema in defs.get_all_schemas_with_history():
        if not schema.domain:
            found.setdefault(schema.name, []).append(schema.since_version)
    return {op: tuple(sorted(versions)) for op, versions in found.items()}


@lru_cache(maxsize=4096)
def differs(old: Schema, new: Schema) -> bool:
    """Whether two versions of an operator differ in more than types and text."""
    return _form(old) != _form(new)


def _form(schema: Schema) -> tuple[object, ...]:
    return (
        sorted((name, each.required, repr(_default(schema, name))) for name, each in schema.attributes.items()),
        [(each.option, each.is_homogeneous) for each in schema.inputs],
        (schema.min_output, schema.max_output),
    )


@lru_cache(maxsize=4096)
def _default(schema: Schema, name: str) -> Any:
    value: AttributeProto = schema.attributes[name].default_value
    if not value.type:
        return None
    found = helper.get_attribute_value(value)
    return found.decode() if isinstance(found, bytes) else found


def _since(schema: Schema) -> str:
    return f"; it came with {_versions()[schema.name][0]}"


def changes(first: int, last: int) -> Iterator[tuple[str, int]]:
    """Every operator that got a new version, and that version, of those after `first` and up to `last`."""
    for op, versions in _versions().items():
        yield from ((op, version) for version in versions[1:] if first < version <= last)
