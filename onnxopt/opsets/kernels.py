"""Which versions of an operator onnxruntime computes on a CPU."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

from onnxruntime.capi import onnxruntime_pybind11_state as core

from onnxopt.ir.schema import Schema
from onnxopt.opsets.draft import schema_of

_OPEN = 2**31 - 1
"""The last version of a kernel that is for its first one only: that a newer one is alike, nobody has said yet."""
_PROVIDER = "CPUExecutionProvider"


@lru_cache(maxsize=1024)
def lost_version(op: str, source: int, target: int) -> int | None:
    """The version of an operator at opset `target`, where onnxruntime has no kernel for it, and at `source` has one.

    Operators that onnxruntime takes apart, by the function that defines them, never had one.
    """
    kernels = _kernels()
    old, new = schema_of(op, source), schema_of(op, target)
    if old is None or new is None or old is new or op not in kernels:
        return None
    had, has = (_covers(kernels[op], schema.since_version) for schema in (old, new))
    return new.since_version if had and not has and not _has_body(new) else None


def _has_body(schema: Schema) -> bool:
    return bool(schema.has_function or schema.has_context_dependent_function)  # type: ignore[attr-defined]  # onnx's stubs lack these two


def _covers(kernels: set[tuple[int, int]], version: int) -> bool:
    return any(first == version or first < version <= last != _OPEN for first, last in kernels)


@lru_cache(maxsize=1)
def _kernels() -> dict[str, set[tuple[int, int]]]:
    """First and last version by operator of the default domain; nothing where this build does not tell."""
    found: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
    for kernel in getattr(core, "get_all_opkernel_def", list)():
        if not kernel.domain and kernel.provider == _PROVIDER:
            found[kernel.op_name].add(tuple(kernel.version_range))
    return dict(found)
