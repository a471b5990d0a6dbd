"""Operations that move elements: coremltools' definitions tensor_transformation.py and tensor_operation.py."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from onnxopt.backends.coreml.evaluator.registry import Array, Call, evaluates


@evaluates("concat")
def _concat(call: Call) -> Array:
    """Coremltools' inference knows nothing of `interleave`."""
    values, axis = call.many("values"), int(call.scalar("axis"))
    if values[0].ndim == 0:
        return np.stack(values)
    if not call.scalar("interleave", False):
        return np.concatenate(values, axis)
    axis %= values[0].ndim
    shape = list(values[0].shape)
    shape[axis] *= len(values)
    return np.stack(values, axis + 1).reshape(shape)


@evaluates("squeeze")
def _squeeze(call: Call) -> Array:
    """Axes that are not of one element stay. Coremltools' inference fails on them, and on results that are scalars."""
    x = call["x"]
    axes = call.ints("axes", list(range(x.ndim)))
    return np.squeeze(x, tuple(axis for axis in axes if x.shape[axis] == 1))


@evaluates("slice_by_index")
def _slice_by_index(call: Call) -> Array:
    """Coremltools' inference fails where a scalar of float16 or a truth value is left."""
    return call["x"][_slices(call)]


@evaluates("slice_update")
def _slice_update(call: Call) -> Array:
    found: Array = call["x"].copy()
    found[_slices(call)] = call["update"]
    return found


def _slices(call: Call) -> tuple[slice | int, ...]:
    rank = call["x"].ndim
    masks = {name: call.ints(name, [0] * rank) for name in ("begin_mask", "end_mask", "squeeze_mask")}
    begin, end, stride = call.ints("begin"), call.ints("end"), call.ints("stride", [1] * rank)
    found: list[slice | int] = []
    for axis in range(rank):
        first = None if masks["begin_mask"][axis] else begin[axis]
        if masks["squeeze_mask"][axis]:
            found.append(first or 0)
        else:
            found.append(slice(first, None if masks["end_mask"][axis] else end[axis], stride[axis]))
    return tuple(found)


@evaluates("reshape_like")
def _reshape_like(call: Call) -> Array:
    shape: list[int] = []
    for like, begin, end, to_the_end in zip(
        call.many("ref_tensors"), call.many("begins"), call.many("ends"), call.many("end_masks"), strict=True
    ):
        shape += like.shape[int(begin) : None if bool(to_the_end) else int(end)]
    return call["x"].reshape(shape)


@evaluates("reverse_sequence")
def _reverse_sequence(call: Call) -> Array:
    x = call["x"]
    along, batch = int(call.scalar("seq_axis", 0)), int(call.scalar("batch_axis", 0))
    found: Array = np.moveaxis(x.copy(), (batch, along), (0, 1))
    for index, length in enumerate(call["lengths"].tolist()):
        found[index, :length] = np.flip(found[index, :length], 0)
    return np.moveaxis(found, (0, 1), (batch, along))


@evaluates("sliding_windows")
def _sliding_windows(call: Call) -> Array:
    x, size = call["x"], int(call.scalar("size"))
    axis = int(call.scalar("axis")) % x.ndim
    windows = sliding_window_view(x, size, axis)
    taken = np.take(windows, np.arange(0, windows.shape[axis], int(call.scalar("stride", 1))), axis)
    return np.moveaxis(taken, -1, axis + 1)


@evaluates("crop")
def _crop(call: Call) -> Array:
    x = call["x"]
    (top, bottom), (left, right) = call.ints("crop_height"), call.ints("crop_width")
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


@evaluates("depth_to_space")
def _depth_to_space(call: Call) -> Array:
    """The block comes first within the channels, as in TensorFlow's `depth_to_space` on channels first."""
    x, size = call["x"], int(call.scalar("block_size"))
    count, channels, height, width = x.shape
    parts = x.reshape(count, size, size, channels // size**2, height, width)
    return np.asarray(parts.transpose(0, 3, 4, 1, 5, 2).reshape(count, -1, height * size, width * size))


@evaluates("space_to_depth")
def _space_to_depth(call: Call) -> Array:
    """The inverse of `depth_to_space`."""
    x, size = call["x"], int(call.scalar("block_size"))
    count, channels, height, width = x.shape
    parts = x.reshape(count, channels, height // size, size, width // size, size)
    return np.asarray(parts.transpose(0, 3, 5, 1, 2, 4).reshape(count, -1, height // size, width // size))


@evaluates("pixel_shuffle")
def _pixel_shuffle(call: Call) -> Array:
    """As PyTorch's, of the same formula: channels come first, then the block."""
    x, size = call["x"], int(call.scalar("upscale_factor"))
    count, channels, height, width = x.shape
    parts = x.reshape(count, channels // size**2, size, size, height, width)
    return np.asarray(parts.transpose(0, 1, 4, 2, 5, 3).reshape(count, -1, height * size, width * size))


@evaluates("pixel_unshuffle")
def _pixel_unshuffle(call: Call) -> Array:
    """The inverse of `pixel_shuffle`."""
    x, size = call["x"], int(call.scalar("downscale_factor"))
    count, channels, height, width = x.shape
    parts = x.reshape(count, channels, height // size, size, width // size, size)
    return np.asarray(parts.transpose(0, 1, 3, 5, 2, 4).reshape(count, -1, height // size, width // size))


@evaluates("space_to_batch")
def _space_to_batch(call: Call) -> Array:
    """As TensorFlow's: the places within a block come before the samples."""
    x, (high, wide) = call["x"], call.ints("block_shape")
    x = np.pad(x, [(0, 0), (0, 0), *call["paddings"].tolist()])
    count, channels, height, width = x.shape
    parts = x.reshape(count, channels, height // high, high, width // wide, wide)
    return np.asarray(parts.transpose(3, 5, 0, 1, 2, 4).reshape(-1, channels, height // high, width // wide))


@evaluates("batch_to_space")
def _batch_to_space(call: Call) -> Array:
    """The inverse of `space_to_batch`, cropped."""
    x, (high, wide) = call["x"], call.ints("block_shape")
    count, channels, height, width = x.shape
    parts = x.reshape(high, wide, count // (high * wide), channels, height, width)
    whole = parts.transpose(2, 3, 4, 0, 5, 1).reshape(-1, channels, height * high, width * wide)
    (top, bottom), (left, right) = call["crops"].tolist()
    return np.asarray(whole[..., top : height * high - bottom, left : width * wide - right])


@evaluates("fill")
def _fill(call: Call) -> Array:
    value = call["value"] if call.has("value") else np.zeros((), np.float32)
    return np.full(call.ints("shape"), value.item(), value.dtype)
