"""`quantize-weights`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar, Literal

import ml_dtypes
import numpy as np
from onnx import TensorProto

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.ir.values import Array
from onnxopt.linear.layer_weights import OPERATORS, Selection, Weight, layer_weights
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.quantization.blocks import NotFinite, Stored, store
from onnxopt.quantization.palette import Palette, palette

_BLOCK, _PALETTE_BITS = 32, 4
_SINCE = 10
"""The opset that DequantizeLinear came with."""
_AXIS_SINCE, _FLOAT16_SINCE, _FOUR_BITS_SINCE = 13, 19, 21
_FLOAT8_SINCE = 19
_WRITES_ZERO = ("tensorrt",)
"""Targets for which a zero point of 0 has to be written."""
_FINDS_PALETTES = ("coreml",)
"""Targets whose writer makes a palette of any weight of few values: there the weight itself is the place for them."""
_STORES_TABLES = ("coreml",)
"""Targets that store what DequantizeLinear makes of any constant as its integers, gather no integers of 8 bits, and
have tables that are added, such as of positions, as large as weights."""


@dataclass(frozen=True)
class QuantizeWeights(Pass):
    """Store weights in fewer bits, and compute in float as before: a smaller file, no calibration data.

    `int8`, `int4` and `fp8` become DequantizeLinear of an initializer, symmetric (0 stays 0): a scale for each output
    channel, or, of integers, for each block of inputs. `palette` has a table of 2^bits values a weight, found by
    k-means, and becomes Gather of it (by uint8, or uint4 where 4 bits are enough and the opset has them); for coreml,
    which finds palettes by itself, the weight becomes those values.

    Weights of Conv, ConvTranspose, Gemm, MatMul, GRU, LSTM, RNN and tables of Gather, in every scope; float32 and
    float16; for coreml also tables of Add. A table that only Gather reads, in int8, is dequantized behind the Gather:
    row by row (for coreml before it, where its integers are what is stored). Left alone, with the
    reason: what would not become smaller, what holds NaN or infinities, what somebody reads who was excluded. int4 and
    blocks need opset 21, fp8 19, scales per channel 13: an error says so. One weight is in memory at a time, and what
    was made of those before.

    onnxruntime dequantizes at every run: this saves bytes, not time (see `quantize` and `quantize-dynamic`).
    """

    preserves: ClassVar[Preserves] = Preserves.ACCURACY
    needs: ClassVar[tuple[str, ...]] = OPERATORS

    type: Literal["int8", "int4", "fp8", "palette"] = "int8"
    """How a weight is stored: integers of 8 or 4 bits, float8 (E4M3FN), or places in a table."""
    bits: int | None = None
    """Of a palette: its table has 2^bits values, 2 to 8 bits; none: 4."""
    block: int | None = None
    """So many inputs share a scale; none: 32 for int4, and no blocks for int8."""
    per_channel: bool = True
    """A scale for each output channel, where there are no blocks; otherwise one for the weight."""
    include: tuple[str, ...] = ("*",)
    """Patterns of layers, weights or operators: `encoder.*`, `Gather`. One that matches nothing is an error."""
    exclude: tuple[str, ...] = ()
    """Patterns of those to leave alone."""
    smallest: int = 1024
    """Bytes of the weight below which it is left alone."""

    def __post_init__(self) -> None:
        if self.bits is not None and self.type != "palette":
            raise ValueError(f"bits is for palettes; {self.type} says its own")
        if self.bits is not None and not 2 <= self.bits <= 8:
            raise ValueError(f"bits takes 2 to 8, not {self.bits}")
        if self.block is not None and (self.type in ("palette", "fp8") or self.block < 2):
            raise ValueError("block takes 2 or more, for int8 and int4")

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed. BadOption for an opset that is too old."""
        selection = Selection(self.include, self.exclude)
        ops = (*OPERATORS, "Add") if ctx.target in _STORES_TABLES else OPERATORS
        found = [(weight, selection.takes(weight)) for weight in layer_weights(graph, ops) if not _is_bias(weight)]
        selection.require_matches(graph, "quantize-weights", ops)
        with ir.edit(graph) as edit:
            for weight, is_taken in found:
                if is_taken and weight.constant.nbytes >= self.smallest:
                    _Storing(self, weight, edit, ctx).run()
        return edit.changed


def _is_bias(weight: Weight) -> bool:
    """Whether it is a vector that is only added, which costs little and is kept."""
    is_added = all(node.is_op("Add") for node in weight.readers)
    return is_added and sum(dim > 1 for dim in weight.constant.shape) < 2


class _Storing:
    """One weight."""

    def __init__(self, options: QuantizeWeights, weight: Weight, edit: ir.Edit, ctx: Context) -> None:
        self.options, self.weight, self.edit, self.ctx = options, weight, edit, ctx
        self.readers = tuple(dict.fromkeys(weight.tensor.outputs))
        self.scopes = {node: scope for node in self.readers if (scope := edit.scope_of(node)) is not None}
        self.opset = min((scope.opset for scope in self.scopes.values()), default=0)
        self.block = options.block or (_BLOCK if options.type == "int4" else None)
        channel = weight.axes.channel if options.per_channel else None
        self.axis = weight.axes.summed if self.block else channel

    def run(self) -> None:
        weight, constant = self.weight, self.weight.constant
        self._require_opset()
        reason = self._obstacle()
        made: Stored | Palette | None = None
        if reason is None:
            try:
                made = self._compute()
            except NotFinite:
                reason = "it holds NaN or infinities"
        after = self._bytes(made)
        is_snapped = isinstance(made, Palette) and self.ctx.target in _FINDS_PALETTES
        if is_snapped and isinstance(made, Palette) and made.is_exact:
            return  # its values are few already
        if made is not None and after >= constant.nbytes and not is_snapped:
            reason = f"it takes {constant.nbytes} bytes, and would take {after}"
        if reason is not None:
            self.ctx.refuse(f"the weight stays as it is: {reason}", weight.name)
        elif made is not None and self.ctx.allow(f"stored as {self.options.type}", weight.name):
            self.ctx.count("bytes before", constant.nbytes)
            self.ctx.count("bytes after", after)
            if isinstance(made, Stored):
                self._insert_pairs(made)
            else:
                self._insert_palette(made)
            self._drop_source()

    def _compute(self) -> Stored | Palette:
        values = self.weight.constant.read()
        if self.options.type == "palette":
            return palette(values, self.options.bits or _PALETTE_BITS)
        return store(values, self.options.type, self.axis, self.block)

    def _bytes(self, made: Stored | Palette | None) -> int:
        """What a weight takes once it is stored so."""
        if made is None:
            return 0
        item = self.weight.constant.dtype.itemsize
        if isinstance(made, Stored):
            return made.integers.size // (2 if self.options.type == "int4" else 1) + made.scale.size * item
        return made.indices.size // (2 if self._fits_four_bits(made) else 1) + made.table.size * item

    def _fits_four_bits(self, made: Palette) -> bool:
        return made.table.size <= 16 and self.opset >= _FOUR_BITS_SINCE

    def _require_opset(self) -> None:
        four = self.options.type == "int4" or self.block is not None
        needs = _FOUR_BITS_SINCE if four else _AXIS_SINCE if self.axis is not None else _SINCE
        needs = max(needs, _FLOAT8_SINCE) if self.options.type == "fp8" else needs
        if self.options.type != "palette" and self.opset < needs:
            what = self.options.type + (" in blocks" if self.block else " per channel" if self.axis is not None else "")
            raise BadOption(f"quantize-weights: {what} needs opset {needs} and the model has {self.opset}; "
                            f"run convert-opset{{opset={needs}}} first")  # fmt: skip

    def _obstacle(self) -> str | None:
        weight, constant = self.weight, self.weight.constant
        if len(self.scopes) < len(self.readers):
            return "a node that reads it is in no graph"
        if self.edit.is_output(weight.tensor):
            return f"'{weight.name}' is an output of the model"
        others = [
            node for node in self.readers if node not in weight.readers and not node.is_op("Transpose", "Reshape")
        ]
        if others:
            return f"{others[0].op} reads it too, and is no layer whose weight it is"
        if self.options.type != "palette" and constant.dtype == np.float16 and self.opset < _FLOAT16_SINCE:
            return f"scales of float16 need opset {_FLOAT16_SINCE}, and the model has {self.opset}"
        if self.block and self.axis is None:
            return "the layers that read it sum over different axes, and blocks have to lie along one"
        return None

    def _insert_pairs(self, stored: Stored) -> None:
        scale = ir.Constant(
            self.edit.fresh(f"{self.weight.name}_scale"), stored.scale.astype(self.weight.constant.dtype)
        )
        integers = ir.Constant(self.edit.fresh(f"{self.weight.name}_quantized"), stored.integers)
        inputs: list[ir.Tensor] = [scale, *self._zero_point(stored)]
        is_table = self.options.type == "int8" and not self.block and all(n.is_op("Gather") for n in self.readers)
        is_table = is_table and self.ctx.target not in _STORES_TABLES
        for readers in self._by_scope():
            if is_table and self.axis in (None, 1):
                for gather in readers:
                    self._dequantize_rows(gather, integers, inputs)
            else:
                self._replace(readers, self._pair(integers, inputs, readers[0]))

    def _zero_point(self, stored: Stored) -> list[ir.Tensor]:
        if self.ctx.target not in _WRITES_ZERO:
            return []
        zeros = np.zeros(stored.scale.shape, stored.integers.dtype)
        return [ir.Constant(self.edit.fresh(f"{self.weight.name}_zero_point"), zeros)]

    def _attrs(self) -> dict[str, int]:
        if self.axis is None:
            return {}
        return {"axis": self.axis, **({"block_size": self.block} if self.block else {})}

    def _pair(self, integers: ir.Constant, inputs: list[ir.Tensor], anchor: ir.Node) -> ir.Variable:
        constant = self.weight.constant
        real = ir.Variable(self.edit.fresh(f"{self.weight.name}_dequantized"), constant.dtype, constant.shape)
        node = ir.Node("DequantizeLinear", self._name("DequantizeLinear"), self._attrs(), [integers, *inputs], [real])
        self.edit.insert_before(anchor, node)
        return real

    def _dequantize_rows(self, gather: ir.Node, integers: ir.Constant, inputs: list[ir.Tensor]) -> None:
        """Gather rows of integers, then dequantize those: the last axis is that of the scales."""
        result: ir.Variable = gather.outputs[0]
        rows = ir.Variable(self.edit.fresh(f"{result.name}_quantized"), np.int8, result.shape)
        attrs = {} if self.axis is None else {"axis": -1}
        node = ir.Node("DequantizeLinear", self._name("DequantizeLinear"), attrs)
        self.edit.replace_input(gather, 0, integers)
        gather.outputs[0] = rows
        node.inputs.extend([rows, *inputs])
        node.outputs.append(result)
        self.edit.insert_after(gather, node)

    def _insert_palette(self, found: Palette) -> None:
        name, constant = self.weight.name, self.weight.constant
        if self.ctx.target in _FINDS_PALETTES:
            snapped = ir.Constant(self.edit.fresh(f"{name}_palette"), found.table[found.indices])
            self._replace(list(self.readers), snapped)
            return
        places: Array = found.indices.astype(ml_dtypes.uint4) if self._fits_four_bits(found) else found.indices
        table = ir.Constant(self.edit.fresh(f"{name}_table"), found.table)
        indices = ir.Constant(self.edit.fresh(f"{name}_indices"), places)
        for readers in self._by_scope():
            wide = ir.Variable(self.edit.fresh(f"{name}_places"), np.int32, constant.shape)
            real = ir.Variable(self.edit.fresh(f"{name}_looked_up"), constant.dtype, constant.shape)
            cast = ir.Node("Cast", self._name("Cast"), {"to": int(TensorProto.INT32)}, [indices], [wide])
            self.edit.insert_before(
                readers[0], cast, ir.Node("Gather", self._name("Gather"), {}, [table, wide], [real])
            )
            self._replace(readers, real)

    def _name(self, op: str) -> str:
        return self.edit.fresh(f"{self.weight.name}_{op}")

    def _by_scope(self) -> list[list[ir.Node]]:
        """The readers of each graph: what is made of the weight stands in the graph that reads it."""
        found: defaultdict[ir.Graph, list[ir.Node]] = defaultdict(list)
        for node, scope in self.scopes.items():
            found[scope].append(node)
        return list(found.values())

    def _replace(self, readers: list[ir.Node], tensor: ir.Tensor) -> None:
        for node in readers:
            for index, read in enumerate(node.inputs):
                if read is self.weight.tensor:
                    self.edit.replace_input(node, index, tensor)

    def _drop_source(self) -> None:
        node = self.weight.tensor.producer
        if node is not None and not self.edit.is_used(self.weight.tensor):
            self.edit.remove(node)
