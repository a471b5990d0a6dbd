"""Opset 13: Softmax and its like work along one axis; before, along all from `axis` on, taken as one."""

from __future__ import annotations

from onnxopt.opsets.draft import ITSELF, Adapter, Draft, Made


def _along_one_axis(draft: Draft) -> None:
    """x as a matrix, split before `axis`, the operator along its rows, and the shape of x again.

    Along one axis only where that is the last one, or where those after it have length 1.
    """
    axis = draft.take("axis", 1)
    shape = draft.shape()
    if shape is not None:
        at = axis if axis >= 0 else axis + len(shape)
        if at < len(shape) and all(size == 1 for size in shape[at + 1 :]):
            draft.attrs["axis"] = axis
            return
    source = draft.given(0)
    draft.attrs["axis"] = -1
    draft.put(0, Made("Flatten", [source], {"axis": axis}, "flattened"))
    draft.result = Made("Reshape", [ITSELF, Made("Shape", [source], {}, "shape")], {}, "reshaped")


UP: dict[tuple[str, int], Adapter] = {(op, 13): _along_one_axis for op in ("Softmax", "LogSoftmax", "Hardmax")}
DOWN: dict[tuple[str, int], Adapter] = {}
