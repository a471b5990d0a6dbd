"""`cancel-quantization`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np

from onnxopt import ir
from onnxopt.ir import dtypes
from onnxopt.ir.known import known_value
from onnxopt.ir.purity import Purity
from onnxopt.ir.schema import find_schema
from onnxopt.ir.values import Array
from onnxopt.pipeline.base import Context, Pass, describe

_MOVES = ("Concat", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Resize", "Slice", "Squeeze",
          "Tile", "Transpose", "Unsqueeze")  # fmt: skip
"""Operators that give out some of the values of their first input (Concat: of all), none computed. MaxPool picks the
largest, which with a positive scale is the largest before as after."""
_TARGETS = (None, "onnx")
"""Targets whose engine takes a bare Transpose of integers, if they are uint8. Others know a value to be quantized by
the pair of QuantizeLinear and DequantizeLinear round each node. So does onnxruntime 1.31 for int8, which on x86 it
turns into uint8 pair by pair: behind a bare Transpose it finds no QLinearConv."""
_ATTRIBUTES = {"axis", "block_size", "output_dtype", "saturate"}


@dataclass(frozen=True)
class CancelQuantization(Pass):
    """Remove a DequantizeLinear and the QuantizeLinear behind it where together they do nothing.

    That is where scale, zero point, axis and type are equal, so that every integer comes back as it was: the scale is a
    constant, positive, and as precise as the integers need (float32 for 8 and 16 bits, float16 for 8). Between the two
    there may be nodes that only move data (Reshape, Transpose, Squeeze, Slice, Gather, MaxPool, Concat, ...) and that
    nothing else reads: they then move uint8 values. The scales of a quantization per axis follow a Transpose.

    QuantizeLinear with DequantizeLinear behind it rounds: such a pair is a real quantization, and stays. So do pairs of
    other scales (a requantization), of scales that are computed, in blocks, of float8. Other types than uint8 are not
    moved, and none for another target than `onnx`: engines find quantized operators by the pairs round them. In every
    scope.
    """

    needs: ClassVar[tuple[str, ...]] = ("QuantizeLinear", "DequantizeLinear")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        purity = Purity(graph)
        with ir.edit(graph) as edit:
            for scope in ir.every_graph(graph):
                for node in scope.nodes:
                    if node.op == "QuantizeLinear" and node.is_standard and purity.called(node) is None:
                        _Attempt(node, scope.opset, edit, ctx).run()
        return edit.changed


class _Attempt:
    """One QuantizeLinear, and what is before it."""

    def __init__(self, node: ir.Node, opset: int, edit: ir.Edit, ctx: Context) -> None:
        self.node, self.opset, self.edit, self.ctx = node, opset, edit, ctx

    def run(self) -> None:
        moves, sources = self._before()
        if not sources:
            return
        reason = self._obstacle(moves, sources)
        if reason is not None:
            self.ctx.refuse(f"behind {describe(sources[0])}, but {reason}", self.node)
            return
        over = f", over {', '.join(describe(move) for move in moves)}" if moves else ""
        if self.ctx.allow(f"cancelled with {describe(sources[0])}{over}", self.node):
            self._cancel(moves, sources)

    def _before(self) -> tuple[list[ir.Node], list[ir.Node]]:
        """The nodes that move data, the last first, and the DequantizeLinear nodes before them; none for no match."""
        moves: list[ir.Node] = []
        at = self.node
        while True:
            producer = at.inputs[0].producer
            if producer is None or not producer.is_standard:
                return [], []
            if producer.op == "DequantizeLinear":
                return moves, [producer]
            if producer.op not in _MOVES or self.edit.sole_reader(at.inputs[0]) is not at:
                return [], []
            moves.append(producer)
            if producer.op == "Concat":
                sources = [tensor.producer for tensor in producer.inputs]
                is_match = all(source is not None and source.is_op("DequantizeLinear") for source in sources)
                return (moves, sources) if is_match else ([], [])
            at = producer

    def _obstacle(self, moves: Sequence[ir.Node], sources: Sequence[ir.Node]) -> str | None:
        wanted = _Parameters.of(self.node)
        axis: int | None = None
        for source in sources:
            found = _Parameters.of(source)
            for one in (wanted, found):
                if isinstance(one, str):
                    return one
            assert not isinstance(wanted, str) and not isinstance(found, str)
            if reason := wanted.differs_from(found) or found.is_lossy():
                return reason
            axis = found.axis
            if moves and self.edit.sole_reader(source.outputs[0]) is None:
                return f"'{source.outputs[0].name}' is read elsewhere too"
        assert not isinstance(wanted, str)
        return self._obstacle_of(moves, wanted, axis) or self.edit.obstacle(self.node.outputs[0], self._result(moves))

    def _result(self, moves: Sequence[ir.Node]) -> ir.Tensor:
        """What stands for the output of the QuantizeLinear."""
        tensor: ir.Tensor = moves[0].outputs[0] if moves else self.node.inputs[0].producer.inputs[0]
        return tensor

    def _obstacle_of(self, moves: Sequence[ir.Node], wanted: _Parameters, axis: int | None) -> str | None:
        """Why the nodes between cannot move integers."""
        if moves and self.ctx.target not in _TARGETS:
            return f"{self.ctx.target} knows a value to be quantized by the pair round each node"
        for move in reversed(moves):
            schema = find_schema(move.op, move.domain, self.opset)
            if schema is None or f"tensor({wanted.dtype})" not in schema.inputs[0].types:
                return f"{move.op} takes no {wanted.dtype} in opset {self.opset}"
            if wanted.dtype != "uint8":
                return f"onnxruntime knows {wanted.dtype} values to be quantized by the pair round each node"
            if move.op == "Resize" and (move.attr("mode", "nearest") != "nearest" or _extrapolates(move)):
                return f"{describe(move)} computes values between those of its input"
            if sum(1 for tensor in move.outputs if tensor.name) > 1:
                return f"{describe(move)} has more than one output"
            if axis is not None:
                perm = move.attr("perm")
                if move.op == "Transpose" and isinstance(perm, list) and -len(perm) <= axis < len(perm):
                    axis = perm.index(axis % len(perm))
                elif move.op != "Identity":
                    return f"the scale is per axis, and {describe(move)} may move the axis"
        if axis != wanted.axis:
            return f"the axis of its scales is {axis} here, and the one wanted is {wanted.axis}"
        return None

    def _cancel(self, moves: Sequence[ir.Node], sources: Sequence[ir.Node]) -> None:
        if moves:
            last = moves[-1]
            for index, source in enumerate(sources):
                self.edit.replace_input(last, index, source.inputs[0])
            wanted = _Parameters.of(self.node)
            assert not isinstance(wanted, str)
            for move in moves:
                if move.outputs[0].dtype is not None:
                    move.outputs[0].dtype = np.dtype(wanted.dtype)
            self.edit.replace_all_uses(self.node.outputs[0], moves[0].outputs[0])
        else:
            self.edit.replace_all_uses(self.node.outputs[0], sources[0].inputs[0])
        self.edit.remove(self.node)
        for source in dict.fromkeys(sources):
            if not self.edit.is_used(source.outputs[0]):
                self.edit.remove(source)


def _extrapolates(resize: ir.Node) -> bool:
    return bool(resize.attr("coordinate_transformation_mode") == "tf_crop_and_resize")


@dataclass(frozen=True)
class _Parameters:
    """What a QuantizeLinear or DequantizeLinear says of the integers."""

    scale: Array
    zero: Array | None
    """None stands for zeros."""
    axis: int | None
    """None for one scale for all."""
    dtype: str
    """The type of the integers."""

    @classmethod
    def of(cls, node: ir.Node) -> _Parameters | str:
        """The parameters, or why they are not known."""
        if node.attrs.keys() - _ATTRIBUTES or any(not isinstance(value, int) for value in node.attrs.values()):
            return f"{describe(node)} has attributes that are not understood here"
        if node.attr("block_size", 0):
            return f"{describe(node)} has a scale for each block"
        inputs = [tensor for tensor in node.inputs if tensor.name]
        values = [known_value(tensor) for tensor in inputs[1:]]
        scale, zero = [*values, None][:2] if values else (None, None)
        if scale is None or any(value is None for value in values):
            return f"the scale of {describe(node)} is not a constant"
        dtype = _integers(node, zero)
        if dtype is None:
            return f"the integer type of {describe(node)} is not certain"
        if zero is not None and not zero.any():
            zero = None
        axis = None if scale.size == 1 else int(node.attr("axis", 1))
        return cls(scale, zero, axis, dtype)

    def differs_from(self, other: _Parameters) -> str | None:
        """Where two differ, their axes apart; None where they do not."""
        if self.dtype != other.dtype:
            return f"the integers are {other.dtype} before, {self.dtype} after"
        if self.scale.dtype != other.scale.dtype or not _same(self.scale, other.scale):
            return "the scales differ: the two requantize"
        if (self.zero is None) != (other.zero is None) or (
            self.zero is not None and other.zero is not None and not _same(self.zero, other.zero)
        ):
            return "the zero points differ: the two requantize"
        return None

    def is_lossy(self) -> str | None:
        """Why an integer may not come back; None where it does.

        n * scale / scale is n up to two roundings, of half an eps each: it rounds back to n while n * eps < 1/2.
        """
        try:
            kind = ml_dtypes.iinfo(self.dtype)  # type: ignore[no-untyped-call]
            precision = ml_dtypes.finfo(self.scale.dtype)  # type: ignore[no-untyped-call]
        except ValueError:
            return f"{self.dtype} with scales of {self.scale.dtype} may lose bits on the way"
        largest = float(kind.max) - float(kind.min)
        scale = np.abs(self.scale.astype(np.float64))
        if not (self.scale.astype(np.float64) > 0).all():
            return "the scale is not positive"
        is_normal = (scale >= float(precision.tiny)).all() and (scale * largest <= float(precision.max)).all()
        if not is_normal or largest * float(precision.eps) >= 0.5:
            return f"{self.dtype} with scales of {self.scale.dtype} may lose bits on the way"
        return None


def _same(one: Array, other: Array) -> bool:
    return one.size == other.size and one.tobytes() == other.tobytes()


def _integers(node: ir.Node, zero: Array | None) -> str | None:
    """The type of the integers that a node reads or makes."""
    if zero is not None:
        return str(zero.dtype)
    if node.op == "QuantizeLinear":
        code = node.attr("output_dtype", 0)
        dtype = dtypes.to_numpy(code) if code else np.dtype(np.uint8)
        return None if dtype is None else str(dtype)
    source = node.inputs[0]
    if isinstance(source, ir.Constant):
        return str(source.dtype)
    if source.producer is not None and source.producer.is_op("QuantizeLinear"):
        maker = source.producer
        return _integers(maker, known_value(maker.inputs[2]) if len(maker.inputs) > 2 else None)
    return None
