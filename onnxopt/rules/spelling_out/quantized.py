"""Quantized operators: as Q/DQ round the float operator, or as the arithmetic that they are.

A Conv or MatMul of integers is computed in float32, where a sum of products of bytes is exact up to 2^24, in TF32 as
well: its eleven bits hold a byte less its zero point. QLinearConv and QLinearMatMul become DequantizeLinear, the
operator, QuantizeLinear, as runtimes themselves translate between the two; a value within a rounding error of the
middle between two integers may come out as the other one.
"""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from onnxopt.ir.dtypes import DType, to_numpy
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.ir.values import Array
from onnxopt.rules.spelling_out.site import FLOATS, Result, Site

_FLOAT = np.dtype(np.float32)
_DEQUANTIZING = ("DequantizeLinear", "QLinearConv", "QLinearMatMul")
_EXACT = 1 << 24
FLOAT8 = np.dtype(ml_dtypes.float8_e4m3fn)
_BYTES = tuple(map(np.dtype, (np.int8, np.uint8)))


def dequantize(site: Site) -> Result:
    """(x - zero point) * scale, in the type of the scale; where x is quantized just before, by what that computes."""
    op, dtype, own = site.op, site.dtype(1), site.dtype()
    if dtype not in FLOATS or own not in (*_BYTES, np.dtype(np.int32)):
        raise NoMatch(f"it makes {dtype} of {own}")
    before = site[0].producer
    is_pair = own == np.uint8 and before is not None and before.is_op("QuantizeLinear")
    if (is_pair or isinstance(site[0], Constant)) and own == np.uint8 and _is_middle(site, 2):
        raise NoMatch("its zero point is 128: requantize makes int8 of it, which stays so")
    if is_pair:
        quantizer = site.beside(before)
        integers = _as(site, _gathered(quantizer, _quantized(quantizer, own)), _FLOAT, dtype)
    else:
        integers = op.cast(site[0], dtype)
    x, scale, zero = _spread(site, integers, dtype)
    return _gathered(site, op.Mul(x if zero is None else op.Sub(x, zero), scale))


def quantize(site: Site) -> Result:
    """round(x / scale) + zero point between the bounds of the type, computed in float32.

    Where DequantizeLinear alone reads bytes without a sign, nothing is to be done: `dequantize` computes it in place.
    """
    dtype = site.dtype(2) if site.given(2) else to_numpy(site.attr("output_dtype", 0) or 2)
    if dtype == np.uint8 and _is_read_by_pairs(site):
        raise NoMatch
    if dtype not in _BYTES:
        raise NoMatch(f"it makes {dtype}")
    assert dtype is not None
    return site.op.cast(_gathered(site, _quantized(site, dtype)), dtype)


def _quantized(site: Site, dtype: DType) -> Node:
    """The integer, still in float32."""
    op, own = site.op, site.dtype()
    if own not in FLOATS:
        raise NoMatch(f"it reads {own}")
    if site.opset < 11:
        raise NoMatch(f"it takes opset 11, and this is {site.opset}: convert-opset may help")
    x, scale, zero = _spread(site, _as(site, site[0], own, _FLOAT), _FLOAT)
    found = op.Round(op.Div(x, scale))
    if zero is not None:
        found = op.Add(found, zero)
    limits = np.iinfo(dtype)
    return op.clip(found, _float(limits.min), _float(limits.max))


def _is_middle(site: Site, index: int) -> bool:
    return site.is_known(index) and bool(np.all(site.value(index) == 128))


def _is_read_by_pairs(site: Site) -> bool:
    """Whether its integers go to DequantizeLinear alone, or what will be spelled with it."""
    output = site.node.outputs[0]
    return not site.edit.is_output(output) and all(reader.is_op(*_DEQUANTIZING) for reader in output.outputs)


def dynamic_quantize(site: Site) -> Result:
    """DynamicQuantizeLinear by its definition, in float32 but for what is given out; of zeros alone the scale is 1."""
    op, byte = site.op, np.dtype(np.uint8)
    zero, axes = site.number(0), list(range(site.rank()))
    least, most = (
        op.make(join, op.reduce(f"Reduce{join}", site[0], axes, keepdims=False) if axes else site[0], zero)
        for join in ("Min", "Max")
    )
    span = op.Div(op.Sub(most, least), site.number(255))
    scale = op.Where(op.Equal(span, zero), site.number(1), span)
    middle = op.Round(op.clip(op.Sub(zero, op.Div(least, scale)), _float(0), _float(255)))
    found = op.clip(op.Add(op.Round(op.Div(site[0], scale)), middle), _float(0), _float(255))
    return op.cast(found, byte), scale, op.cast(middle, byte)


def scaled_cast(site: Site) -> Result:
    """A Cast, or CastLike, of float8_e4m3fn as Q/DQ by a scale of 1."""
    own = site.dtype()
    to = site.dtype(1) if site.node.op == "CastLike" else to_numpy(site.attr("to"))
    if own == FLOAT8 and to in FLOATS:
        return site.op.DequantizeLinear(site[0], np.ones((), to), np.zeros((), own))
    if own in FLOATS and to == FLOAT8 and site.attr("saturate", 1):
        return site.op.QuantizeLinear(site[0], np.ones((), own), np.zeros((), to))
    raise NoMatch(f"it makes {to} of {own}")


def qlinear_matmul(site: Site) -> Result:
    """MatMul between Q/DQ; scales of float16 in float32."""
    a = _dequantized(site, 0, 1, 2, axis=-2)
    b = _dequantized(site, 3, 4, 5, axis=-1)
    return _requantized(site, site.op.MatMul(a, b), 6, 7)


def qlinear_conv(site: Site) -> Result:
    """Conv between Q/DQ; the bias, whose scale is the product of the other two, in float."""
    op = site.op
    inputs: list[Tensor | Node | Array] = [_dequantized(site, 0, 1, 2, axis=1), _dequantized(site, 3, 4, 5, axis=0)]
    if site.given(8):
        scale = op.Mul(_scale(site, 1), _scale(site, 4))
        inputs.append(op.Mul(op.cast(site[8], _FLOAT), scale))
    return _requantized(site, op.Conv(*inputs, **site.node.attrs), 6, 7)


def matmul_integer(site: Site) -> Result:
    """A MatMul of numbers less their zero points, in float32, where it is exact."""
    _check_exact(site, site.shape()[-1])
    a = _centred(site, 0, 2, vector=-2)
    return site.op.cast(site.op.MatMul(a, _centred(site, 1, 3)), np.dtype(np.int32))


def conv_integer(site: Site) -> Result:
    """A Conv of numbers less their zero points, in float32, where it is exact."""
    _check_exact(site, math.prod(site.shape(1)[1:]))
    weight = _centred(site, 1, 3, vector=0)
    conv = site.op.Conv(_centred(site, 0, 2), weight, **site.node.attrs)
    return site.op.cast(conv, np.dtype(np.int32))


def _check_exact(site: Site, products: int) -> None:
    if products * 255 * 255 > _EXACT:
        raise NoMatch(f"it sums {products} products of bytes: float32 is exact for {_EXACT // 255**2} alone")


def _centred(site: Site, index: int, zero: int, vector: int | None = None) -> Tensor | Node:
    """An input less its zero point; `vector` is the axis that one zero point for each row belongs to."""
    op, found = site.op, site.op.cast(site[index], _FLOAT)
    if not site.given(zero):
        return found
    point: Tensor | Node = op.cast(site[zero], _FLOAT)
    if vector is not None and site.rank(zero) == 1 and site.shape(zero)[0] != 1:
        point = op.reshape(point, _along(site.rank(index), vector, site.shape(zero)[0]))
    return op.Sub(found, point)


def _along(rank: int, axis: int, size: int) -> list[int]:
    return [size if each == axis % rank else 1 for each in range(rank)]


def _dequantized(site: Site, index: int, scale: int, zero: int, axis: int) -> Node:
    """An input in float32; a scale for each row goes along an axis."""
    if _is_single(site, scale):
        return site.op.DequantizeLinear(site[index], _scalar(site, scale), _scalar(site, zero))
    if site.rank(scale) > 1 or site.opset < 13:
        raise NoMatch(f"'{site[scale].name}' has a scale for each row: that takes opset 13, and one dimension")
    return site.op.DequantizeLinear(site[index], _scale(site, scale), site[zero], axis=axis % site.rank(index))


def _requantized(site: Site, value: Node, scale: int, zero: int) -> Node:
    if not _is_single(site, scale):
        raise NoMatch(f"its output has a scale for each row, '{site[scale].name}'")
    return site.op.QuantizeLinear(value, _scalar(site, scale), _scalar(site, zero))


def _is_single(site: Site, index: int) -> bool:
    return math.prod(site.shape(index)) == 1


def _scale(site: Site, index: int) -> Tensor | Node | Array:
    """In float32."""
    if site.is_known(index) and site.dtype(index) != _FLOAT:
        return site.value(index).astype(_FLOAT)
    return _as(site, site[index], site.dtype(index), _FLOAT)


def _scalar(site: Site, index: int) -> Tensor | Node | Array:
    """A scale or zero point of one element, of rank 0."""
    value = _scale(site, index) if site.dtype(index) in FLOATS else site[index]
    if site.rank(index) == 0:
        return value
    if site.is_known(index):
        known = site.value(index)
        return np.asarray(known.astype(_FLOAT) if known.dtype.kind == "f" else known).reshape(())
    return site.op.Reshape(value, np.zeros(0, np.int64))


_Operand = Tensor | Node | Array


def _spread(site: Site, x: Tensor | Node, dtype: DType) -> tuple[Tensor | Node, _Operand, _Operand | None]:
    """The input of a Q or DQ, its scale and zero point in a type, all of shapes that fit together."""
    scales = site.shape(1)
    if math.prod(scales) == 1:
        return x, *_parts(site, [], dtype)
    axis, block = site.axis("axis", 1), site.attr("block_size", 0)
    if not block:
        return x, *_parts(site, _along(site.rank(), axis, scales[0]), dtype)
    shape = site.shape()
    if shape[axis] != scales[axis] * block:
        raise NoMatch(f"axis {axis} of '{site[0].name}' has {shape[axis]} elements, and {scales[axis]} blocks")
    blocks = site.op.reshape(x, [*shape[:axis], scales[axis], block, *shape[axis + 1 :]])
    return blocks, *_parts(site, [*scales[: axis + 1], 1, *scales[axis + 1 :]], dtype)


def _parts(site: Site, shape: list[int], dtype: DType) -> tuple[_Operand, _Operand | None]:
    """Scale and zero point."""
    return _number(site, 1, shape, dtype), _number(site, 2, shape, dtype) if site.given(2) else None


def _number(site: Site, index: int, shape: list[int], dtype: DType) -> _Operand:
    """An input in a type and shape; worked out where it is known."""
    if site.is_known(index):
        return site.value(index).astype(dtype).reshape(shape)
    found = _as(site, site[index], site.dtype(index), dtype)
    return found if list(site.shape(index)) == shape else site.op.Reshape(found, np.array(shape, np.int64))


def _gathered(site: Site, value: Node) -> Node:
    """Blocks put together again."""
    return site.op.reshape(value, site.shape()) if site.attr("block_size", 0) and site.rank(1) > 1 else value


def _as(site: Site, value: Tensor | Node, own: DType, dtype: DType) -> Tensor | Node:
    return value if own == dtype else site.op.cast(value, dtype)


def _float(value: float) -> Array:
    return np.array(value, _FLOAT)
