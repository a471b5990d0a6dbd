"""Casts and quantization: attributes of newer versions that mean nothing for the types of older ones."""

from __future__ import annotations

import numpy as np

from onnxopt.ir import dtypes
from onnxopt.opsets.draft import Adapter, Draft


def _drop(*names: str) -> Adapter:
    """Drop attributes that only matter for types which the older version does not have; these are asked for last."""

    def drop(draft: Draft) -> None:
        for name in names:
            draft.attrs.pop(name, None)

    return drop


def _output_type(index: int) -> Adapter:
    """Drop an output type that an input says as well: the zero point's, or for DequantizeLinear the scale's."""

    def drop(draft: Draft) -> None:
        code = draft.read("output_dtype", 0)
        if code and draft.given(index) is not None:
            why = "'output_dtype' has to follow from an input"
            if dtypes.same(dtypes.to_numpy(code), draft.dtype(index, why)):
                del draft.attrs["output_dtype"]

    return drop


def _unsaid_type(draft: Draft) -> None:
    if draft.read("output_dtype", 0) == dtypes.to_onnx(np.dtype(np.uint8)) and draft.given(2) is None:
        del draft.attrs["output_dtype"]  # what it is without a zero point
    _output_type(2)(draft)


DOWN: dict[tuple[str, int], Adapter] = {
    ("Cast", 19): _drop("saturate"),
    ("Cast", 24): _drop("round_mode"),
    ("CastLike", 19): _drop("saturate"),
    ("CastLike", 24): _drop("round_mode"),
    ("QuantizeLinear", 19): _drop("saturate"),
    ("QuantizeLinear", 21): _unsaid_type,
    ("DequantizeLinear", 23): _output_type(1),
}
UP: dict[tuple[str, int], Adapter] = {}
