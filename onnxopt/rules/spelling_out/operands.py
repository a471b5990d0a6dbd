"""Nodes as the model's opset writes them: axes, pads, bounds moved from attributes to inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxopt.ir.dtypes import DType, to_onnx
from onnxopt.ir.node import Node
from onnxopt.ir.pattern.making import Maker
from onnxopt.ir.tensor import Tensor
from onnxopt.ir.values import Array

_ANY = Tensor | Node | Array
_AXES_INPUT = {"ReduceSum": 13}
_OTHER_AXES_INPUT = 18


class Operators:
    """`op.Mul(a, b)` makes a node; the methods here make those whose form depends on the opset."""

    def __init__(self, maker: Maker, opset: int) -> None:
        self._maker, self._opset = maker, opset

    def __getattr__(self, name: str) -> Callable[..., Node]:
        if name.startswith("_"):
            raise AttributeError(name)
        made: Callable[..., Node] = getattr(self._maker, name)
        return made

    def make(self, op: str, *inputs: _ANY | None, **attributes: Any) -> Node:
        """A node of an operator that is not known when the rule is written."""
        return self._maker.make(op, *inputs, **attributes)

    def reduce(self, op: str, x: _ANY, axes: Sequence[int], keepdims: bool = True) -> Node:
        """ReduceSum and the like over the axes given, of which there is at least one."""
        assert axes
        if self._opset < _AXES_INPUT.get(op, _OTHER_AXES_INPUT):
            return self.make(op, x, axes=list(axes), keepdims=int(keepdims))
        return self.make(op, x, np.array(axes, np.int64), keepdims=int(keepdims))

    def squeeze(self, x: _ANY, axes: Sequence[int]) -> Node:
        """Squeeze."""
        if self._opset < 13:
            return self.make("Squeeze", x, axes=list(axes))
        return self.make("Squeeze", x, np.array(axes, np.int64))

    def slice(self, x: _ANY, axis: int, start: int, end: int, step: int = 1) -> Node:
        """Slice along one axis; opset 10 and newer where the step is not 1."""
        if self._opset < 10:
            assert step == 1
            return self.make("Slice", x, axes=[axis], starts=[start], ends=[end])
        parts = [np.array([number], np.int64) for number in (start, end, axis, step)]
        return self.make("Slice", x, *(parts if step != 1 else parts[:3]))

    def reshape(self, x: _ANY, shape: Sequence[int]) -> Node:
        """Reshape to numbers, none of which is 0."""
        return self.make("Reshape", x, np.array(shape, np.int64))

    def pad(self, x: _ANY, pads: Sequence[int], value: Array) -> Node:
        """Pad with one number; `value` is of the type of `x`."""
        if self._opset < 11:
            return self.make("Pad", x, pads=list(pads), value=float(value))
        return self.make("Pad", x, np.array(pads, np.int64), value)

    def clip(self, x: _ANY, low: Array | None, high: Array | None) -> Node:
        """Clip between bounds of rank 0, of the type of `x`."""
        if self._opset < 11:
            bounds = {"min": low, "max": high}
            return self.make("Clip", x, **{name: float(bound) for name, bound in bounds.items() if bound is not None})
        return self.make("Clip", x, low, *([high] if high is not None else []))

    def cast(self, x: _ANY, dtype: DType) -> Node:
        """Cast."""
        return self.make("Cast", x, to=to_onnx(dtype))
