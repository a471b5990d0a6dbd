"""What ONNX's Resize makes of one axis: which places of the input each place of the output is taken from.

The formulas are those of the operator's specification (`coordinate_transformation_mode`, `nearest_mode`,
`cubic_coeff_a`, `antialias`, `exclude_outside`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SYMMETRIC = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")


@dataclass(frozen=True)
class Axis:
    """One axis that is resized."""

    size: int
    """Of the input."""
    output: int
    scale: float
    start: float = 0.0
    """Of the region of interest, in parts of the axis."""
    end: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether the scale is exactly the ratio of the sizes."""
        return abs(self.scale * self.size - self.output) < 1e-4

    def is_kept(self, mode: str) -> bool:
        """Whether nothing happens."""
        whole = mode != "tf_crop_and_resize" or (self.start == 0 and self.end == 1)
        return self.size == self.output and abs(self.scale - 1) < 1e-9 and whole


@dataclass(frozen=True)
class Kernel:
    """How far it reaches, and what it weighs."""

    cubic: bool
    coefficient: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False

    def weights(self, distance: Array) -> Array:
        """Of places at a distance: Keys' cubic convolution, or the tent."""
        x, a = np.abs(distance), self.coefficient
        if not self.cubic:
            return np.asarray(np.maximum(1 - x, 0))
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        return np.where(x <= 1, near, np.where(x < 2, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a, 0))


def coordinates(axis: Axis, mode: str) -> Array:
    """Where in the input each place of the output lies, shape [outputs]."""
    places = np.arange(axis.output, dtype=np.float64)
    last, steps = axis.size - 1, axis.output - 1
    if mode == "align_corners":
        return places * last / steps if steps else places * 0
    if mode == "asymmetric":
        return places / axis.scale
    if mode == "tf_crop_and_resize":
        if not steps:
            return np.array([0.5 * (axis.start + axis.end) * last])
        return axis.start * last + places * (axis.end - axis.start) * last / steps
    if mode == "pytorch_half_pixel" and not steps:
        return places * 0
    found = (places + 0.5) / axis.scale - 0.5
    if mode == "half_pixel_symmetric":
        found = found + axis.size / 2 * (1 - axis.output / (axis.scale * axis.size))
    return found


def is_outside(axis: Axis, mode: str) -> Array:
    """Which places get the extrapolation value, shape [outputs]."""
    at = coordinates(axis, mode)
    return ((at < 0) | (at > axis.size - 1)) & (mode == "tf_crop_and_resize")


def nearest(axis: Axis, mode: str, rounding: str) -> Array:
    """The index that each place of the output is taken from, shape [outputs], int32."""
    return _rounded(axis, coordinates(axis, mode), rounding)


def is_narrow(axis: Axis, mode: str, rounding: str) -> bool:
    """Whether places lie so close between two others that runtimes, which compute in float32, take another one."""
    scale, places = np.float32(axis.scale), np.arange(axis.output, dtype=np.float32)
    near = coordinates(replace(axis, scale=float(scale)), mode)
    found = [near, near.astype(np.float32)]
    if mode == "asymmetric":
        found.append(places / scale)
    elif mode == "half_pixel_symmetric" and not axis.is_whole:
        found += [near - 1e-5, near + 1e-5]
    elif mode in SYMMETRIC and axis.output > 1:
        found.append((places + np.float32(0.5)) / scale - np.float32(0.5))
    chosen = nearest(axis, mode, rounding)
    return any((_rounded(axis, at, rounding) != chosen).any() for at in found)


def _rounded(axis: Axis, at: Array, rounding: str) -> Array:
    found = {
        "floor": np.floor(at),
        "ceil": np.ceil(at),
        "round_prefer_floor": np.ceil(at - 0.5),
        "round_prefer_ceil": np.floor(at + 0.5),
    }[rounding]
    return np.clip(found, 0, axis.size - 1).astype(np.int32)


def matrix(axis: Axis, mode: str, kernel: Kernel) -> Array:
    """What each place of the output weighs each of the input with, shape [outputs, size], float32."""
    squeeze = min(axis.scale, 1.0) if kernel.antialias else 1.0
    reach = (2 if kernel.cubic else 1) / squeeze
    found = np.zeros((axis.output, axis.size))
    for row, at in zip(found, coordinates(axis, mode), strict=True):
        places = np.arange(np.ceil(at - reach), np.floor(at + reach) + 1)
        weights = kernel.weights((places - at) * squeeze)
        if kernel.exclude_outside:
            weights = np.where((places >= 0) & (places < axis.size), weights, 0)
        total = weights.sum()
        np.add.at(row, np.clip(places, 0, axis.size - 1).astype(int), weights / (total if total else 1.0))
    return found.astype(np.float32)


def grids(axis: Axis) -> dict[str, Array]:
    """Where MIL's bilinear operations look, by their `sampling_mode`, as coremltools documents them."""
    places, size, output = np.arange(axis.output), axis.size, axis.output
    found = {"UNALIGN_CORNERS": (places + 0.5) * size / output - 0.5}
    if output > 1:
        found["STRICT_ALIGN_CORNERS"] = places * (size - 1) / (output - 1)
        found["DEFAULT"] = places * (size - size / output) / (output - 1)
    return {name: np.clip(grid, 0, size - 1) for name, grid in found.items()}
