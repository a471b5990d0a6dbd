"""Resampling at coordinates: coremltools' definition `resample` of image_resizing.py."""

from __future__ import annotations

import itertools

import numpy as np

from onnxopt.backends.coreml.evaluator.registry import Array, Call, evaluates

_SPANS = {"normalized_minus_one_to_one": (-1.0, 2.0), "normalized_zero_to_one": (0.0, 1.0)}
"""Where coordinates begin, and how long they go."""


@evaluates("resample")
def _resample(call: Call) -> Array:
    """Bilinear; to which side a nearest neighbour is rounded is not documented."""
    if call.scalar("sampling_mode") != "bilinear":
        raise call.refuse(f"sampling_mode is {call.scalar('sampling_mode')!r}, of which halves are not documented")
    x, coordinates = call.wide("x"), call["coordinates"].astype(np.float64)
    points = [_points(call, coordinates[..., at], x.shape[3 - at]) for at in range(2)][::-1]
    lows = [np.floor(point) for point in points]
    batch = np.arange(x.shape[0])[:, None, None]
    total = np.zeros((*coordinates.shape[:3], x.shape[1]))
    for corner in itertools.product((0, 1), repeat=2):
        weight = np.ones(coordinates.shape[:3])
        places, inside = [], np.ones(coordinates.shape[:3], bool)
        for axis, offset in enumerate(corner):
            share = points[axis] - lows[axis]
            weight *= share if offset else 1 - share
            place, there = _place(call, lows[axis] + offset, x.shape[2 + axis])
            places.append(place)
            inside &= there
        taken = x.transpose(0, 2, 3, 1)[batch, places[0], places[1]]
        total += weight[..., None] * np.where(inside[..., None], taken, call["padding_value"])
    return np.asarray(total.transpose(0, 3, 1, 2), np.float32)


def _points(call: Call, coordinates: Array, size: int) -> Array:
    mode = call.scalar("coordinates_mode")
    if mode == "unnormalized":
        return coordinates
    first, length = _SPANS[mode]
    share = (coordinates - first) / length
    return share * (size - 1) if call.scalar("align_corners") else share * size - 0.5


def _place(call: Call, places: Array, size: int) -> tuple[Array, Array]:
    """Places within the axis; and whether the image, as it is padded, has its own numbers there."""
    mode = call.scalar("padding_mode")
    within = (places >= 0) & (places < size)
    everywhere = np.ones(places.shape, bool)
    if mode in ("constant", "border"):
        return np.clip(places, 0, size - 1).astype(np.int64), within if mode == "constant" else everywhere
    period = 2 * size if mode == "symmetric" else max(2 * size - 2, 1)
    turned = np.mod(places, period)
    back = period - turned - (mode == "symmetric")
    return np.minimum(turned, back).clip(0, size - 1).astype(np.int64), everywhere
