"""Opset 21: GroupNormalization scales each channel, and no more each group."""

from __future__ import annotations

import numpy as np

from onnxopt.ir import dtypes
from onnxopt.opsets.draft import Adapter, Draft, Made


def _for_each_channel(draft: Draft) -> None:
    """Repeat what there is for each group; keep the precision, which was that of the input."""
    groups = draft.read("num_groups")
    shape = draft.shape()
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    if channels is None or not groups or channels % groups:
        draft.refuse("since opset 21 it scales channels and not groups, and the number of channels is not certain")
    times = channels // groups
    for index, name in ((1, "scale"), (2, "bias")):
        value = draft.value(index)
        if value is not None:
            draft.put(index, np.repeat(value, times))
            continue
        column = Made("Unsqueeze", [draft.given(index), np.array([1], np.int64)], {}, name)
        repeated = Made("Expand", [column, np.array([groups, times], np.int64)], {}, name)
        draft.put(index, Made("Reshape", [repeated, np.array([-1], np.int64)], {}, name))
    dtype = draft.dtype(0, "before opset 21 it computes in the type of its input")
    if dtype != np.float32:
        draft.attrs["stash_type"] = dtypes.to_onnx(dtype)


def _for_each_group(draft: Draft) -> None:
    draft.refuse("before opset 21 it scales groups and not channels")


UP: dict[tuple[str, int], Adapter] = {("GroupNormalization", 21): _for_each_channel}
DOWN: dict[tuple[str, int], Adapter] = {("GroupNormalization", 21): _for_each_group}
