"""Numbers as MIL computes them: integers in 32 bits whatever ONNX has, and constants in the type of what they meet."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering.site import Site

Array = npt.NDArray[Any]
_SMALL = (types.int8, types.uint8, types.int16, types.uint16)


def is_float(var: Any) -> bool:
    """Whether a Var is of fp32 or fp16."""
    return var.dtype in (types.fp32, types.fp16)


def like(var: Any, number: Any) -> Any:
    """Numbers in the element type of a Var: MIL's operations want both alike."""
    return np.asarray(number).astype(types.nptype_from_builtin(var.dtype))[()]


def operand(site: Site, index: int) -> Any:
    """An input for arithmetic: float, bool, or int32, which is what MIL computes integers in."""
    value = site.value(index)
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return mb.const(val=value.astype(np.int32)[()])
    var = site.var(index)
    return mb.cast(x=var, dtype="int32") if var.dtype in _SMALL else var


def float_operand(site: Site, index: int) -> Any:
    """An input of an operation that MIL has for floats only.

    Raises:
        Refused: It is an integer or a boolean.
    """
    var = site.var(index)
    if not is_float(var):
        name, kind = site.node.inputs[index].name, site.dtype(index)
        site.refuse(f"input {index} '{name}' is of {kind}, and MIL computes {site.node.op} in floats")
    return var


def wrapped(site: Site, var: Any, dtype: np.dtype[Any]) -> Any:
    """A result in int32 brought into the width that ONNX computes in: 8 and 16 bits overflow by wrapping."""
    if dtype.kind not in "iu" or dtype.itemsize >= 4:
        return var
    period = 1 << (8 * dtype.itemsize)
    if dtype.kind == "u":
        return mb.mod(x=var, y=np.int32(period))
    half = np.int32(period // 2)
    return mb.sub(x=mb.mod(x=mb.add(x=var, y=half), y=np.int32(period)), y=half)


def truncated_quotient(x: Any, y: Any, signed: bool = True) -> Any:
    """x / y of integers, rounded toward zero as ONNX has it: `floor_div` rounds down, so signs follow."""
    if not signed:
        return mb.floor_div(x=x, y=y)
    quotient = mb.floor_div(x=mb.abs(x=x), y=mb.abs(x=y))
    return mb.mul(x=quotient, y=mb.mul(x=mb.sign(x=x), y=mb.sign(x=y)))


def arrays(site: Site) -> list[Array] | None:
    """All inputs where every one is known: what is computed of them is known too."""
    values = [site.value(index) for index in range(len(site)) if site.has(index)]
    return values if all(isinstance(value, np.ndarray) for value in values) else None
