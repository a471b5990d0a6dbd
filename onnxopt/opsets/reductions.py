"""Opsets 13 and 18: the axes of reductions are an input, and no axes may mean none."""

from __future__ import annotations

from onnxopt.opsets.draft import Adapter, Draft
from onnxopt.opsets.operands import as_attribute, as_input

_OTHERS = [f"Reduce{kind}" for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")]


def _axes_as_input(draft: Draft) -> None:
    if draft.attrs.get("axes") == []:  # all of them, as without
        del draft.attrs["axes"]
    as_input(draft, "axes", 1)


def _axes_as_attribute(draft: Draft) -> None:
    noop = draft.take("noop_with_empty_axes", 0)
    if draft.given(1) is not None:
        axes = as_attribute(draft, 1, "axes")
        if axes:
            return
        del draft.attrs["axes"]
    if noop:
        draft.refuse("before opset 18 it cannot reduce over no axis: 'noop_with_empty_axes'")


UP: dict[tuple[str, int], Adapter] = {
    ("ReduceSum", 13): _axes_as_input,
    **{(op, 18): _axes_as_input for op in _OTHERS},
}
DOWN: dict[tuple[str, int], Adapter] = {(op, 18): _axes_as_attribute for op in _OTHERS}
