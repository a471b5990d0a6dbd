"""Operators that may train: opset 7 took `is_test` away from them, 12 and 14 gave them a mode."""

from __future__ import annotations

import numpy as np

from onnxopt.opsets.draft import Adapter, Draft


def _is_test(draft: Draft) -> None:
    if not draft.take("is_test", 0):
        draft.refuse("it trains: 'is_test' is 0, and since opset 7 it does not say so")


def _batch_norm_mode(draft: Draft) -> None:
    """Before opset 14, a node with more outputs than the first one trains."""
    if any(tensor.name for tensor in draft.node.outputs[1:]):
        draft.refuse("it trains, by other rules than since opset 14: it has more than one output")
    draft.outputs = 1


def _dropout_mask(draft: Draft) -> None:
    """The mask was of the type of the input before opset 10; onnxruntime gives zeros before 12 and ones since."""
    mask = draft.node.outputs[1] if draft.outputs > 1 else None
    if mask is not None and mask.name and draft.facts.is_used(mask):
        draft.refuse(f"its mask '{mask.name}' is used, and of another type or value since opset 12")
    draft.outputs = 1


def _dropout_ratio(draft: Draft) -> None:
    _dropout_mask(draft)
    if "ratio" in draft.attrs:
        draft.put(1, np.array(draft.take("ratio"), np.float32))


UP: dict[tuple[str, int], Adapter] = {
    ("BatchNormalization", 7): _is_test,
    ("Dropout", 7): _is_test,
    ("BatchNormalization", 14): _batch_norm_mode,
    ("Dropout", 10): _dropout_mask,
    ("Dropout", 12): _dropout_ratio,
}
DOWN: dict[tuple[str, int], Adapter] = {}
