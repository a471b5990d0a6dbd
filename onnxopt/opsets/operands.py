"""Integers that are an attribute of one opset and an input of another."""

from __future__ import annotations

import numpy as np

from onnxopt.opsets.draft import Draft


def as_input(draft: Draft, attribute: str, index: int) -> None:
    """Give an attribute, where the node has it, as an int64 input."""
    if attribute in draft.attrs:
        draft.put(index, np.array(draft.take(attribute), np.int64))


def as_attribute(draft: Draft, index: int, attribute: str) -> list[int]:
    """Give an int64 vector input as an attribute, and return it.

    Raises:
        Refused: It is not known before the model runs.
    """
    value = draft.value(index)
    if value is None:
        draft.refuse(f"'{attribute}' is computed, and has to be known before opset {_first(draft)}")
    draft.put(index, None)
    draft.attrs[attribute] = found = [int(item) for item in value.reshape(-1)]
    return found


def _first(draft: Draft) -> int:
    return {"DFT": 20}.get(draft.op, 18)
