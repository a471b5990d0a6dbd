"""QuantizeLinear and DequantizeLinear nodes, and the constants they read."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.ir.edit import Edit
from onnxopt.quantization.encoding import Array, Encoding


class Pairs:
    """Makes the nodes and constants of one model; equal zero points are one initializer."""

    def __init__(self, edit: Edit) -> None:
        self.edit = edit
        self._zeros: dict[tuple[str, bytes, tuple[int, ...]], ir.Constant] = {}
        self._scales: dict[int, tuple[Encoding, ir.Constant]] = {}
        """By the identity of the encoding, which is kept so that no other gets it."""

    def quantize(self, source: ir.Tensor, name: str, encoding: Encoding, prefix: str) -> ir.Node:
        """A QuantizeLinear of `source`, its output named after `name` and its scale after `prefix`."""
        stored = ir.Variable(self.edit.fresh(f"{name}_q"), encoding.integer.dtype, source.shape)
        inputs = [source, self._scale(encoding, prefix), self._zero(encoding)]
        return ir.Node("QuantizeLinear", inputs=inputs, outputs=[stored])

    def dequantize(
        self, stored: ir.Tensor, target: ir.Tensor, encoding: Encoding, prefix: str, bare: bool = False
    ) -> ir.Node:
        """The DequantizeLinear that gives `target`; with `bare` a zero point of 0 is left out."""
        inputs = [stored, self._scale(encoding, prefix)]
        if not bare or encoding.zero_point.any():
            inputs.append(self._zero(encoding))
        attrs = {} if encoding.axis is None else {"axis": encoding.axis}
        return ir.Node("DequantizeLinear", attrs=attrs, inputs=inputs, outputs=[target])

    def stored(self, constant: ir.Tensor, integers: Array, encoding: Encoding, bare: bool) -> ir.Node:
        """The DequantizeLinear of a constant that was quantized."""
        name = constant.name or "constant"
        target = ir.Variable(self.edit.fresh(f"{name}_dq"), np.float32, list(integers.shape))
        return self.dequantize(ir.Constant(self.edit.fresh(f"{name}_q"), integers), target, encoding, name, bare)

    def _scale(self, encoding: Encoding, prefix: str) -> ir.Constant:
        found = self._scales.get(id(encoding))
        if found is None:
            scale = ir.Constant(self.edit.fresh(f"{prefix}_scale"), np.asarray(encoding.scale))
            found = self._scales[id(encoding)] = encoding, scale
        return found[1]

    def _zero(self, encoding: Encoding) -> ir.Constant:
        zero = encoding.zero_point
        key = (encoding.integer.name, zero.tobytes(), zero.shape)
        if key not in self._zeros:
            self._zeros[key] = ir.Constant(self.edit.fresh(f"{encoding.integer.name}_zero_point"), np.asarray(zero))
        return self._zeros[key]
