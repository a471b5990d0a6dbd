"""Whether two models gave the same outputs, by what was promised, and where they differ most.

How much difference reassociation may make. Summing n products in another order changes each partial sum by a rounding
of relative size u (half of `eps`). Roundings of random sign add up to about sqrt(n) u times the size of the sum (Higham
and Mary, "A New Approach to Probabilistic Rounding Error Analysis", SIAM J. Sci. Comput. 41, 2019), and L layers to
about sqrt(L) of that. With n = 18,432 (3x3 over 2,048 channels) and L = 50 that is 960 u: hence 1,024 eps, 1.2e-4 in
float32, of the largest magnitude in the output. *Of the largest*, not of each element: one that is small because large
terms cancelled carries the error of the terms. Sixteen-bit types, and int8 within a model, accumulate in float32 and
are rounded once an operator: 16 eps; eight-bit outputs: 2 eps. An output that is all but zero carries the error of what
it comes from, commonly of order one: terms that cancel, or a Sigmoid far to the left, which onnxruntime approximates to
an absolute 1.5e-7. Hence a floor of 8 eps, 1 for the narrow types.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from onnxopt.data.metrics import snr
from onnxopt.data.spec import Array, Value, show_shape


class Tolerance(enum.Enum):
    """What was promised; the values are those of `pipeline.Preserves`."""

    BITS = "bits"
    """Every bit the same: 0.0 is not -0.0, since 1/x tells them apart. Any NaN equals any NaN, for neither ONNX nor
    IEEE 754 says which payload an operation gives."""
    VALUES = "values"
    """Equal within floating-point reassociation, as bounded above. Integers, booleans and strings exactly."""
    ACCURACY = "accuracy"
    """Approximate by design: differences are measured and never fail, but for another structure, dtype or shape, and
    for NaN or infinity where the expected output is finite."""


@dataclass(frozen=True)
class Difference:
    """How one tensor of an output differs from the expected one."""

    output: str
    """The output's name; `name[2]` or `name[key]` for an element of a sequence or a map."""
    ok: bool
    """Whether the promise is kept."""
    bit_equal: bool = False
    """Whether every bit is the same, any NaN standing for any other."""
    largest_absolute: float = 0.0
    """max |expected - actual| over the elements where both are finite, in the units of the output."""
    largest_relative: float = 0.0
    """`largest_absolute` over the largest finite |expected| of the tensor; infinite when that is zero."""
    where: tuple[int, ...] | None = None
    """The index of the worst element; None when bit equal or not comparable."""
    snr: float = math.inf
    """Signal-to-noise ratio in decibel over the finite elements; infinite when equal there."""
    reason: str = ""
    """Why the promise is broken, in one line without the output's name; empty when it is kept."""

    def __str__(self) -> str:
        if self.reason:
            return f"output '{self.output}': {self.reason}"
        if self.bit_equal:
            return f"output '{self.output}': equal"
        return (
            f"output '{self.output}': differs by {self.largest_absolute:.3g} ({self.largest_relative:.3g} of its range)"
        )


def compare(
    expected: Mapping[str, Value], actual: Mapping[str, Value], tolerance: Tolerance, *, rounding: float = 0.0
) -> list[Difference]:
    """Compare outputs by name, one Difference for each tensor in them.

    Args:
        expected: outputs of the reference; every one of them must be in `actual`.
        actual: outputs of the model under test; ones that `expected` lacks are not looked at.
        tolerance: what was promised.
        rounding: `eps` of the coarsest type that either model computes in (`precision.coarsest_rounding`). A float32
            output of a float16 model differs as float16 does.
    """
    found: list[Difference] = []
    for name, value in expected.items():
        if name in actual:
            found += _leaves(name, value, actual[name], tolerance, rounding)
        else:
            found.append(Difference(name, False, reason="is missing"))
    return found


def worst(differences: list[Difference]) -> Difference | None:
    """The one to show: broken before kept, not comparable before different, then the largest. None of none."""

    def badness(found: Difference) -> tuple[bool, bool, float]:
        return (not found.ok, bool(found.reason) and not found.largest_absolute, found.largest_relative)

    return max(differences, key=badness, default=None)


def _leaves(name: str, expected: Value, actual: Value, tolerance: Tolerance, rounding: float) -> Iterator[Difference]:
    """Walk into sequences, optionals and maps."""
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
            yield from _leaves(f"{name}[{index}]", one, other, tolerance, rounding)
    elif isinstance(expected, dict) and isinstance(actual, dict) and expected.keys() == actual.keys():
        for key, one in expected.items():
            yield from _leaves(f"{name}[{key}]", one, actual[key], tolerance, rounding)
    elif expected is None and actual is None:
        yield Difference(name, True, bit_equal=True)
    elif any(value is None or isinstance(value, (list, dict)) for value in (expected, actual)):
        yield Difference(name, False, reason=f"expected {_kind(expected)}, found {_kind(actual)}")
    else:
        yield _tensor(name, np.asarray(expected), np.asarray(actual), tolerance, rounding)


def _tensor(name: str, expected: Array, actual: Array, tolerance: Tolerance, rounding: float) -> Difference:
    if _kind(expected) != _kind(actual):
        return Difference(name, False, reason=f"expected {_kind(expected)}, found {_kind(actual)}")
    differs = _differing_bits(expected, actual)
    if not differs.any():
        return Difference(name, True, bit_equal=True)
    if expected.dtype.kind in "OUSb":
        first = _index(differs, int(np.argmax(differs)))
        ok = tolerance is Tolerance.ACCURACY
        reason = "" if ok else f"expected {expected[first]!r}, found {actual[first]!r} at {list(first)}"
        return Difference(
            name, ok, where=first, largest_absolute=1.0, largest_relative=1.0, snr=-math.inf, reason=reason
        )
    return _numbers(name, expected, actual, differs, tolerance, rounding)


def _numbers(
    name: str, expected: Array, actual: Array, differs: Array, tolerance: Tolerance, rounding: float
) -> Difference:
    one, other = expected.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(one) & np.isfinite(other)
    apart = np.abs(np.subtract(one, other, out=np.zeros_like(one), where=finite))
    scale = float(np.max(np.abs(one), initial=0.0, where=np.isfinite(one)))
    largest = float(np.max(apart, initial=0.0))
    # Infinities of one sign do not differ, nor do NaNs: these are finite on one side at most, and unequal.
    broken = differs & ~finite
    if tolerance is Tolerance.ACCURACY:
        broken &= np.isfinite(one)
    if broken.any():
        where = _index(broken, int(np.argmax(broken)))
        reason = f"expected {expected[where]}, found {actual[where]}"
    else:
        where = _index(differs, int(np.argmax(apart if largest else differs)))
        reason = _verdict(expected.dtype, tolerance, largest, scale, rounding)
    return Difference(
        name,
        ok=not reason,
        largest_absolute=largest,
        largest_relative=largest / scale if scale else math.inf if largest else 0.0,
        where=where,
        snr=snr(one[finite], other[finite]),
        reason=f"{reason} at {list(where)}" if reason else "",
    )


def _verdict(dtype: np.dtype[Any], tolerance: Tolerance, largest: float, scale: float, rounding: float) -> str:
    """Why finite numbers that differ break the promise; empty when they keep it."""
    if tolerance is Tolerance.ACCURACY:
        return ""
    eps = _eps(dtype)
    if tolerance is Tolerance.BITS or eps is None:
        return f"differs by {largest:.3g}" if largest or eps is None else "0.0 and -0.0 are not the same bits"
    share, floor = bounds(max(eps, rounding))
    allowed = share * scale + floor
    return f"differs by {largest:.3g}, allowed {allowed:.3g}" if largest > allowed else ""


def bounds(eps: float) -> tuple[float, float]:
    """By how much reassociation may change an output: a share of its range, and a floor; the module says why."""
    if eps < 2**-20:
        return 1024 * eps, 8 * eps
    return (16 if eps < 2**-5 else 2) * eps, eps


def _eps(dtype: np.dtype[Any]) -> float | None:
    """The gap from 1 to the next number; None for integers."""
    try:
        return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]  # as ml_dtypes ships it
    except ValueError:
        return None


def _differing_bits(expected: Array, actual: Array) -> Array:
    if expected.dtype.kind in "OUS":
        return np.asarray(expected != actual)
    same = np.asarray(expected == actual)
    if _eps(expected.dtype) is not None:
        same = (same & (np.signbit(expected) == np.signbit(actual))) | (np.isnan(expected) & np.isnan(actual))
    return ~same


def _index(array: Array, flat: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, array.shape))


def _kind(value: Value) -> str:
    """Structure, dtype and shape, as they must agree."""
    if value is None:
        return "an empty optional"
    if isinstance(value, (list, dict)):
        return f"a {'sequence' if isinstance(value, list) else 'map'} of {len(value)}"
    array = np.asarray(value)
    return f"{'string' if array.dtype.kind in 'OUS' else array.dtype}{show_shape(array.shape)}"
