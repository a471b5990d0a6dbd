"""Shapes and data movement: what moved from attributes to inputs, and what newer versions can say."""

from __future__ import annotations

import math

import numpy as np

from onnxopt.opsets.draft import ITSELF, Adapter, Draft, Made
from onnxopt.opsets.operands import as_attribute, as_input

_UNBOUNDED = 3.4e38
"""The largest float32, 3.4028e38, says "no bound" in Clip's attributes."""


def _axes_as_input(draft: Draft) -> None:
    as_input(draft, "axes", 1)


def _slice(draft: Draft) -> None:
    for index, name in ((1, "starts"), (2, "ends"), (3, "axes")):
        as_input(draft, name, index)


def _top_k(draft: Draft) -> None:
    draft.put(1, np.array([draft.take("k")], np.int64))


def _clip(draft: Draft) -> None:
    for index, name in ((1, "min"), (2, "max")):
        bound = draft.take(name)
        if bound is not None and abs(bound) < _UNBOUNDED:
            draft.put(index, np.array(bound, draft.dtype(0, "its bounds have its type since opset 11")))


def _pad(draft: Draft) -> None:
    as_input(draft, "pads", 1)
    value = draft.take("value", 0.0)
    if (value or math.copysign(1.0, value) < 0) and draft.read("mode", "constant") == "constant":
        draft.put(2, np.array(value, draft.dtype(0, "what it pads with has its type since opset 11")))


def _pad_all_axes(draft: Draft) -> None:
    """Before opset 18 all axes are padded: the others by nothing."""
    if draft.given(3) is None:
        return
    rank = draft.rank(0, "before opset 18 it pads all axes")
    axes, pads = draft.value(3), draft.value(1)
    if axes is None or pads is None:
        draft.refuse("before opset 18 it pads all axes, and 'axes' or 'pads' are computed")
    every = np.zeros((2, rank), np.int64)
    every[:, [int(axis) % rank for axis in axes]] = pads.reshape(2, -1)
    draft.put(1, every.reshape(-1))
    draft.put(3, None)


def _pad_mode(draft: Draft) -> None:
    if draft.read("mode", "constant") == "wrap":
        draft.refuse("before opset 19 it has no mode 'wrap'")


def _split_sizes_as_input(draft: Draft) -> None:
    as_input(draft, "split", 1)


def _split_count(draft: Draft) -> None:
    """Since opset 18 equal parts are asked for by their number."""
    if draft.given(1) is None:
        draft.attrs["num_outputs"] = draft.outputs


def _split_equally(draft: Draft) -> None:
    """Before opset 18 equal parts are equal; since, the last one may be smaller."""
    count = draft.take("num_outputs")
    if count is None:
        return
    axis = draft.read("axis", 0)
    shape = draft.shape()
    size = None if shape is None else shape[axis]
    if size is None:
        draft.refuse("before opset 18 its parts have to be equal, and the length of the axis is not certain")
    if size % count:
        part = -(-size // count)
        draft.put(1, np.array([part] * (count - 1) + [size - part * (count - 1)], np.int64))


def _shape_part(draft: Draft) -> None:
    """Before opset 15 the whole shape, of which a slice is taken."""
    start, end = draft.take("start", 0), draft.take("end")
    if start != 0 or end is not None:
        bounds = ([start], [np.iinfo(np.int64).max if end is None else end], [0])
        draft.result = Made("Slice", [ITSELF, *(np.array(each, np.int64) for each in bounds)], {}, "part")


def _reshape_zero(draft: Draft) -> None:
    """Before opset 14 a 0 always copies the dimension of the input."""
    if draft.take("allowzero", 0):
        shape = draft.value(1)
        if shape is None:
            draft.refuse("before opset 14 a 0 in its shape copies a dimension, and the shape is computed")
        if 0 in shape:
            draft.refuse("before opset 14 a 0 in its shape copies a dimension: 'allowzero'")


def _scatter(draft: Draft) -> None:
    draft.op = "ScatterElements"


def _scatter_reduction(draft: Draft) -> None:
    if draft.read("reduction", "none") in ("min", "max"):
        draft.refuse(f"before opset 18 it has no reduction '{draft.attrs['reduction']}'")


def _dft_axis_as_input(draft: Draft) -> None:
    draft.put(2, np.array(draft.take("axis", 1), np.int64))


def _dft_axis_as_attribute(draft: Draft) -> None:
    axis = as_attribute(draft, 2, "axis")[0] if draft.given(2) is not None else -2
    draft.attrs["axis"] = axis if axis >= 0 else axis + draft.rank(0, "before opset 20 its axis counts from the start")


def _modulo(draft: Draft) -> None:
    if not draft.read("fmod", 0) and draft.dtype(0, "before opset 28 it is for integers").kind not in "iu":
        draft.refuse("before opset 28 it takes no floating-point numbers without 'fmod'")


def _scan(draft: Draft) -> None:
    draft.refuse("it has a batch axis of its own before opset 9")


UP: dict[tuple[str, int], Adapter] = {
    ("Squeeze", 13): _axes_as_input,
    ("Unsqueeze", 13): _axes_as_input,
    ("Slice", 10): _slice,
    ("TopK", 10): _top_k,
    ("Clip", 11): _clip,
    ("Pad", 11): _pad,
    ("Split", 13): _split_sizes_as_input,
    ("Split", 18): _split_count,
    ("Scatter", 11): _scatter,
    ("DFT", 20): _dft_axis_as_input,
    ("Scan", 9): _scan,
}
DOWN: dict[tuple[str, int], Adapter] = {
    ("Pad", 18): _pad_all_axes,
    ("Pad", 19): _pad_mode,
    ("Split", 18): _split_equally,
    ("Shape", 15): _shape_part,
    ("Reshape", 14): _reshape_zero,
    ("ScatterElements", 18): _scatter_reduction,
    ("ScatterND", 18): _scatter_reduction,
    ("DFT", 20): _dft_axis_as_attribute,
    ("Mod", 28): _modulo,
}
