"""Opset 7: broadcasting by shape, as numpy does, and no more by the attributes `broadcast` and `axis`."""

from __future__ import annotations

import numpy as np

from onnxopt.opsets.draft import Adapter, Draft, Made


def _binary(draft: Draft) -> None:
    broadcast, axis = draft.take("broadcast", 0), draft.take("axis")
    if not broadcast or axis is None:  # equal shapes; or B's is a suffix of A's, with ones or without: as in numpy
        return
    first = draft.rank(0, "its operands are aligned by the attribute 'axis', which opset 7 has no more")
    second = draft.rank(1, "its operands are aligned by the attribute 'axis', which opset 7 has no more")
    after = first - (axis if axis >= 0 else axis + first) - second
    if after < 0:
        draft.refuse(f"axis {axis} leaves no room for an operand of rank {second} in one of rank {first}")
    if after:
        _append_ones(draft, 1, second, after)


def _prelu(draft: Draft) -> None:
    """Opset 6: one slope, or one for each channel. Opset 7: a shape that broadcasts to the input's."""
    shape = draft.shape(1)
    if shape is None or any(size is None for size in shape):
        draft.refuse("the shape of its slope is not certain")
    if len(shape) == 1 and shape[0] != 1:
        after = draft.rank(0, "it has a slope for each channel") - 2
        if after > 0:
            _append_ones(draft, 1, 1, after)


def _append_ones(draft: Draft, index: int, rank: int, count: int) -> None:
    axes = np.arange(rank, rank + count, dtype=np.int64)
    draft.put(index, Made("Unsqueeze", [draft.given(index), axes], {}, "unsqueezed"))


def _gemm(draft: Draft) -> None:
    draft.take("broadcast")  # without it C has the shape of the result, which broadcasts to itself


UP: dict[tuple[str, int], Adapter] = {
    **{(op, 7): _binary for op in ["Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less"]},
    ("PRelu", 7): _prelu,
    ("Gemm", 7): _gemm,
}
DOWN: dict[tuple[str, int], Adapter] = {}
