"""`conv` and `conv_transpose`: coremltools/converters/mil/mil/ops/defs/iOS15/conv.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxopt.backends.coreml.evaluator.handlers.sessions import run_operator
from onnxopt.backends.coreml.evaluator.registry import Array, Call, evaluates


def pads_of(call: Call, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Padding before and after each spatial axis.

    `same` gives ceil(size / stride) and puts the odd one behind; `same_lower` puts it in front.

    Args:
        call: With `pad_type` and `pad`.
        sizes: Of the input.
        kernel: Sizes of the windows, dilated.
        strides: Of the windows.
    """
    kind = call.scalar("pad_type", "valid")
    if kind == "custom":
        pad = call.ints("pad", [0] * 2 * len(sizes))
        return list(zip(pad[::2], pad[1::2], strict=True))
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind not in ("same", "same_lower"):
        raise call.refuse(f"pad_type is {kind!r}")
    found = []
    for size, window, stride in zip(sizes, kernel, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + window - size)
        less, more = total // 2, total - total // 2
        found.append((less, more) if kind == "same" else (more, less))
    return found


@evaluates("conv")
def _conv(call: Call) -> Array:
    x, weight = call.wide("x"), call["weight"]
    spatial = x.ndim - 2
    strides, dilations = call.ints("strides", [1] * spatial), call.ints("dilations", [1] * spatial)
    window = [(size - 1) * step + 1 for size, step in zip(weight.shape[2:], dilations, strict=True)]
    pads = pads_of(call, x.shape[2:], window, strides)
    given = {"x": x} if call.is_constant("weight") else {"x": x, "w": call.wide("weight")}

    def constants() -> Mapping[str, Array]:
        found = {} if "w" in given else {"w": call.wide("weight")}
        return found | ({"b": call.wide("bias")} if call.has("bias") else {})

    return run_operator(
        call,
        "Conv",
        given,
        constants,
        strides=strides,
        dilations=dilations,
        group=int(call.scalar("groups", 1)),
        pads=[before for before, _ in pads] + [after for _, after in pads],
    )


@evaluates("conv_transpose")
def _conv_transpose(call: Call) -> Array:
    """The whole of it, of which padding and `output_shape` then take a part."""
    x = call.wide("x")
    spatial = x.ndim - 2
    strides, dilations = call.ints("strides", [1] * spatial), call.ints("dilations", [1] * spatial)
    whole = run_operator(
        call,
        "ConvTranspose",
        {"x": x},
        lambda: {"w": call.wide("weight")},
        strides=strides,
        dilations=dilations,
        group=int(call.scalar("groups", 1)),
    )
    wanted = call.ints("output_shape", [])[2:]
    kind = call.scalar("pad_type", "valid")
    if kind not in ("valid", "custom", "same"):
        raise call.refuse(f"pad_type is {kind!r}")
    pad = call.ints("pad", [0] * 2 * spatial) if kind == "custom" else [0] * 2 * spatial
    for axis in range(spatial):
        size = whole.shape[axis + 2]
        if kind == "same":
            size_out = wanted[axis] if wanted else x.shape[axis + 2] * strides[axis]
            before = max(0, size - size_out) // 2
        else:
            before = pad[2 * axis]
            size_out = wanted[axis] if wanted else size - before - pad[2 * axis + 1]
        whole = _part(whole, axis + 2, before, size_out)
    bias = call.optional("bias")
    return whole if bias is None else whole + bias.reshape(1, -1, *[1] * spatial)


def _part(whole: Array, axis: int, before: int, size: int) -> Array:
    """A stretch of an axis; beyond its end there are zeros."""
    found = np.take(whole, np.arange(before, min(before + size, whole.shape[axis])), axis)
    if (missing := size - found.shape[axis]) > 0:
        found = np.pad(found, [(0, missing if each == axis else 0) for each in range(found.ndim)])
    return found
