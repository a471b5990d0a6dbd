"""When two Casts in a row do what one does, or nothing."""

from __future__ import annotations

from onnx import TensorProto

_INTEGERS: dict[int, tuple[int, bool]] = {
    TensorProto.INT8: (8, True),
    TensorProto.INT16: (16, True),
    TensorProto.INT32: (32, True),
    TensorProto.INT64: (64, True),
    TensorProto.UINT8: (8, False),
    TensorProto.UINT16: (16, False),
    TensorProto.UINT32: (32, False),
    TensorProto.UINT64: (64, False),
}
"""Bits, and whether there is a sign."""
_FLOATS: dict[int, tuple[int, int]] = {
    TensorProto.FLOAT16: (11, 5),
    TensorProto.BFLOAT16: (8, 8),
    TensorProto.FLOAT: (24, 8),
    TensorProto.DOUBLE: (53, 11),
}
"""Bits of the significand, the implied one included, and of the exponent (IEEE 754; bfloat16 by its specification)."""
KNOWN: frozenset[int] = frozenset({TensorProto.BOOL, *_INTEGERS, *_FLOATS})
"""Numbers that are converted in one way only: strings and the types below a byte are not among them, nor is float8."""


def holds(middle: int, source: int) -> bool:
    """Whether each number of a type is one of another."""
    if source in (middle, TensorProto.BOOL):
        return True
    if source in _INTEGERS:
        bits, signed = _INTEGERS[source]
        if middle in _INTEGERS:
            wide, wide_signed = _INTEGERS[middle]
            return bits + (not signed and wide_signed) <= wide and (wide_signed or not signed)
        return middle in _FLOATS and bits - signed <= _FLOATS[middle][0]
    if source in _FLOATS and middle in _FLOATS:
        return all(has >= needs for has, needs in zip(_FLOATS[middle], _FLOATS[source], strict=True))
    return False


def direct(source: int, middle: int, target: int) -> bool | str:
    """Whether one Cast from `source` to `target` is the same; or why that is not certain.

    Out of range, a conversion from a floating-point number to an integer is undefined, and depends on both types
    (operator specification of Cast): those stay as they are.
    """
    if not {source, middle, target} <= KNOWN:
        return False
    if {source, middle, target} <= _INTEGERS.keys() and _INTEGERS[middle][0] >= _INTEGERS[target][0]:
        return True  # the low bits are what they were
    if not holds(middle, source):
        return f"{name(middle)} does not hold each {name(source)}"
    if source in _FLOATS and target in _INTEGERS:
        return f"what {name(source)} and {name(middle)} give out of the range of {name(target)} may differ"
    return True


def name(kind: int) -> str:
    """A type as messages name it."""
    return str(TensorProto.DataType.Name(kind)).lower()
