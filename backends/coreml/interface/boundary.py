"""Inputs and outputs in MIL: their shapes and types, and how images become what the model was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import get_new_symbol, types

from onnxopt import ir
from onnxopt.backends.coreml.interface import Interface, Picture


class Boundary:
    """What an `Interface` means to the lowering of one model."""

    def __init__(self, interface: Interface) -> None:
        self.interface = interface
        self._symbols: dict[str, Any] = {}

    def shape(self, tensor: ir.Tensor) -> list[Any]:
        """The shape of an input: numbers, and a symbol for each dimension that varies; one for all of a name."""
        assert tensor.shape is not None
        sizes = self.interface.shapes.get(tensor.name)
        return [
            self._symbol(dim)
            if (sizes.varies(axis) if sizes else not (isinstance(dim, int) and dim >= 0))
            else (sizes.shapes[0][axis] if sizes else dim)
            for axis, dim in enumerate(tensor.shape)
        ]

    def _symbol(self, dim: Any) -> Any:
        if not isinstance(dim, str) or not dim:
            return get_new_symbol()
        return self._symbols.setdefault(dim, get_new_symbol())

    def kind(self, kind: Any) -> Any:
        """The element type of an input or output that would be of `kind`."""
        return types.fp16 if self.interface.float16 and kind == types.fp32 else kind

    def entered(self, name: str, var: Any, dtype: Any) -> Any:
        """An input as the model has it: in its element type, and an image scaled."""
        if var.dtype == types.fp16 and dtype == np.float32:
            var = mb.cast(x=var, dtype="fp32")
        picture = self.interface.images.get(name)
        return var if picture is None else scaled(var, picture)

    def left(self, name: str, var: Any) -> Any:
        """An output as the package has it."""
        picture = self.interface.image_outputs.get(name)
        var = var if picture is None else scaled(var, picture)
        return mb.cast(x=var, dtype="fp16") if self.interface.float16 and var.dtype == types.fp32 else var


def scaled(var: Any, picture: Picture) -> Any:
    """var * scale + bias, for each channel its own."""
    kind = types.nptype_from_builtin(var.dtype)
    for numbers, operation, neutral in ((picture.scale, mb.mul, 1.0), (picture.bias, mb.add, 0.0)):
        if any(each != neutral for each in numbers):
            factor = np.array(numbers, kind)
            var = operation(x=var, y=factor.reshape(1, -1, 1, 1) if factor.size > 1 else factor[0])
    return var
