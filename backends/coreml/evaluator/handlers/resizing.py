"""Resizing: coremltools' definitions image_resizing.py of iOS 15 to 17.

Where `grid_point` falls is documented for every sampling mode; how a nearest neighbour is chosen is not, but for the
way that PyTorch and TensorFlow resize, which these operations are made for: floor(i * Xin / Xout).
"""

from __future__ import annotations

import numpy as np

from onnxopt.backends.coreml.evaluator.registry import Array, Call, evaluates


def _points(call: Call, mode: str, size: int, wanted: int) -> Array:
    """Where each element of an axis of the output is taken from: `grid_point` of `resize_bilinear`."""
    places = np.arange(wanted, dtype=np.float64)
    if mode == "ALIGN_CORNERS" and wanted == 1:
        points = np.array([(size - 1) / 2])
    elif mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        points = places * ((size - 1) / max(wanted - 1, 1))
    elif mode == "DEFAULT":
        points = places * (size / wanted)  # (size - size / wanted) / (wanted - 1)
    elif mode == "OFFSET_CORNERS":
        delta = max(1, size - 1) / wanted
        points = 0.5 * delta + places * delta
    elif mode == "UNALIGN_CORNERS":
        points = (places + 0.5) * (size / wanted) - 0.5
    else:
        raise call.refuse(f"sampling_mode is {mode!r}")
    return np.asarray(np.clip(points, 0, size - 1))


def _linear(x: Array, axis: int, points: Array) -> Array:
    """Between the two neighbours of each point."""
    low = np.floor(points).astype(np.int64)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    shape = [1] * x.ndim
    shape[axis] = -1
    share = (points - low).reshape(shape).astype(np.float32)
    return np.asarray(np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share)


def _nearest(x: Array, axis: int, wanted: int) -> Array:
    places = np.arange(wanted) * x.shape[axis] // wanted
    return np.asarray(np.take(x, places, axis))


@evaluates("resize_bilinear")
def _resize_bilinear(call: Call) -> Array:
    sizes = (int(call.scalar("target_size_height", 1)), int(call.scalar("target_size_width", 1)))
    return _bilinear(call, sizes, str(call.scalar("sampling_mode", "DEFAULT")))


@evaluates("upsample_bilinear")
def _upsample_bilinear(call: Call) -> Array:
    aligned = bool(call.scalar("align_corners", True))
    halves = bool(call.scalar("half_pixel_centers", not aligned))
    if aligned and halves:
        raise call.refuse("align_corners and half_pixel_centers are both given")
    mode = "STRICT_ALIGN_CORNERS" if aligned else "UNALIGN_CORNERS" if halves else "DEFAULT"
    return _bilinear(call, _scaled_sizes(call), mode)


@evaluates("resize_nearest_neighbor")
def _resize_nearest_neighbor(call: Call) -> Array:
    x = call["x"]
    for axis, name in ((-2, "target_size_height"), (-1, "target_size_width")):
        x = _nearest(x, axis, int(call.scalar(name)))
    return x


@evaluates("upsample_nearest_neighbor")
def _upsample_nearest_neighbor(call: Call) -> Array:
    x = call["x"]
    for axis, wanted in zip((-2, -1), _scaled_sizes(call), strict=True):
        x = _nearest(x, axis, wanted)
    return x


@evaluates("resize")
def _resize(call: Call) -> Array:
    x, shape = call.wide("x"), call.ints("shape")
    mode = str(call.scalar("sampling_mode", "DEFAULT"))
    kind = call.scalar("interpolation_mode", "LINEAR")
    if kind == "NEAREST_NEIGHBOR" and mode != "DEFAULT":
        raise call.refuse(f"sampling_mode is {mode!r}, of which nearest neighbours are not documented")
    for axis in range(-int(call.scalar("resized_dims")), 0):
        wanted = shape[axis] or x.shape[axis]
        if kind == "NEAREST_NEIGHBOR":
            x = _nearest(x, axis, wanted)
        else:
            x = _linear(x, axis, _points(call, mode, x.shape[axis], wanted))
    return x


def _scaled_sizes(call: Call) -> tuple[int, int]:
    """floor(size * factor)."""
    height, width = call["x"].shape[-2:]
    down, across = call.scalar("scale_factor_height", 1), call.scalar("scale_factor_width", 1)
    return int(np.floor(np.float32(height) * down)), int(np.floor(np.float32(width) * across))


def _bilinear(call: Call, sizes: tuple[int, int], mode: str) -> Array:
    x = call.wide("x")
    for axis, wanted in zip((-2, -1), sizes, strict=True):
        x = _linear(x, axis, _points(call, mode, x.shape[axis], wanted))
    return x
