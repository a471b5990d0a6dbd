"""Fourier transforms: products with matrices of cosines and sines, for MIL has no operation for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.families.slicing import padded
from onnxopt.backends.coreml.lowering.numbers import float_operand, like
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site

_LONGEST = 4096
"""The matrix of a longer transform takes more than 2 * 64 MB."""


def _angles(rows: int, columns: int, length: int) -> npt.NDArray[np.float64]:
    """2 pi n k / N; the product is reduced before it loses digits."""
    places = np.outer(np.arange(rows), np.arange(columns)) % length
    return 2 * np.pi * places / length


@lowers("DFT")
def dft(site: Site) -> Any:
    """Along one axis; the last one has real and imaginary parts."""
    rank = site.rank(0)
    inverse, half = bool(site.attr("inverse", 0)), bool(site.attr("onesided", 0))
    axis = _axis(site, rank)
    size = site.size(0, axis)
    default = 2 * (size - 1) if inverse and half else size
    length = int(site.constant(1, "dft_length").reshape(())) if site.has(1) else default
    site.require(0 < length <= _LONGEST, f"its length is {length}; up to {_LONGEST} is a product with a matrix")
    complex_ = site.size(0, rank - 1) == 2
    site.require(not (half and inverse) or complex_, "attribute onesided=1 of an inverse takes complex numbers")
    site.require(not half or inverse or not complex_, "attribute onesided=1 takes real numbers")
    given = length // 2 + 1 if inverse and half else length
    x = _fitted(site, float_operand(site, 0), axis, given)
    perm = [at for at in range(rank) if at != axis]
    perm.insert(0, perm.pop())  # the parts come first, the axis last
    parts = mb.transpose(x=x, perm=[*perm, axis])
    real = _part(parts, 0)
    imaginary = _part(parts, 1) if complex_ else None
    if inverse and half:
        assert imaginary is not None
        found = mb.expand_dims(x=_of_half(real, imaginary, given, length), axes=[0])
    else:
        found = _whole(real, imaginary, length, length // 2 + 1 if half else length, inverse)
    back = [perm.index(at) if at != axis else rank - 1 for at in range(rank)]
    return mb.transpose(x=found, perm=back, name=site.name)


def _axis(site: Site, rank: int) -> int:
    if site.opset < 20:
        axis = int(site.attr("axis", 1))
    else:
        axis = int(site.constant(2, "axis").reshape(())) if site.has(2) else -2
    site.require(-rank <= axis < rank and axis % rank != rank - 1, f"axis={axis} is none of its signal")
    return axis % rank


def _fitted(site: Site, x: Any, axis: int, size: int) -> Any:
    """What is too long cut, what is too short filled with zeros."""
    after = [0] * len(x.shape)
    after[axis] = size - int(x.shape[axis])
    return padded(site, x, [0] * len(after), after, "constant", 0, site.values.fresh(f"{site.name}_fitted"))


def _part(parts: Any, which: int) -> Any:
    return mb.gather(x=parts, indices=np.int32(which), axis=0)


def _whole(real: Any, imaginary: Any | None, length: int, wanted: int, inverse: bool) -> Any:
    """(a + ib) (cos -+ i sin), summed: [2, ..., wanted]."""
    angles, factor = _angles(length, wanted, length), 1 / length if inverse else 1.0
    cosines, sines = (like(real, function(angles) * factor) for function in (np.cos, np.sin))
    sines = -sines if not inverse else sines
    first, second = mb.matmul(x=real, y=cosines), mb.matmul(x=real, y=sines)
    if imaginary is not None:
        first = mb.sub(x=first, y=mb.matmul(x=imaginary, y=sines))
        second = mb.add(x=second, y=mb.matmul(x=imaginary, y=cosines))
    return mb.stack(values=[first, second], axis=0)


def _of_half(real: Any, imaginary: Any, given: int, length: int) -> Any:
    """The real signal of one half of its spectrum: what has a mirror image counts twice."""
    angles = _angles(given, length, length)
    twice = np.full((given, 1), 2.0)
    twice[0] = 1
    if length % 2 == 0:
        twice[-1] = 1
    cosines, sines = (like(real, function(angles) * twice / length) for function in (np.cos, np.sin))
    return mb.sub(x=mb.matmul(x=real, y=cosines), y=mb.matmul(x=imaginary, y=sines))


@lowers("STFT")
def stft(site: Site) -> Any:
    """A convolution with the cosines and sines of every frequency, windowed."""
    sizes = site.sizes(0)
    real = len(sizes) == 2 or sizes[2] == 1
    site.require(real, f"input 0 '{site.node.inputs[0].name}' is complex; of real signals it can be said in MIL")
    step = int(site.constant(1, "frame_step").reshape(()))
    window = site.constant(2, "window").astype(np.float64) if site.has(2) else None
    frame = sizes[1] if window is None else len(window)
    if site.has(3):
        frame = int(site.constant(3, "frame_length").reshape(()))
    window = np.ones(frame) if window is None else window
    site.require(frame <= _LONGEST, f"its frames are of {frame}; up to {_LONGEST} is a product with a matrix")
    site.require(len(window) == frame, f"its window is of {len(window)}, its frames of {frame}")
    count = frame // 2 + 1 if site.attr("onesided", 1) else frame
    angles = _angles(count, frame, frame)
    kernel = np.concatenate([np.cos(angles), -np.sin(angles)]) * window
    x = float_operand(site, 0)
    signal = mb.reshape(x=x, shape=[sizes[0], 1, sizes[1]])
    found = mb.conv(x=signal, weight=like(x, kernel[:, None]), strides=[step], pad_type="valid")
    apart = mb.reshape(x=found, shape=[sizes[0], 2, count, int(found.shape[2])])
    return mb.transpose(x=apart, perm=[0, 3, 2, 1], name=site.name)
