"""Layers whose weights are int8 and whose activations are quantized as the model runs, as onnxruntime computes them."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from onnxopt import ir
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.values import Array
from onnxopt.linear.match import constant_of
from onnxopt.quantization.blocks import NotFinite, Stored, store

CONTRIB = "com.microsoft"
_LSTM_INPUTS = 8
"""X, W, R, B, sequence_lens, initial_h, initial_c, P; then scale and zero point of W and R (DynamicQuantizeLSTM)."""
_ATTENTION_ATTRS = {"num_heads", "unidirectional", "do_rotary", "mask_filter_value", "scale"}

Floats = npt.NDArray[np.float32]


class DynamicLayers:
    """Rewrites layers; what several read is quantized once."""

    def __init__(self, edit: ir.Edit, per_channel: bool, allow: Callable[[str, ir.Node], bool]) -> None:
        self.edit, self.per_channel, self.allow = edit, per_channel, allow
        self._inputs: dict[Hashable, tuple[ir.Variable, ir.Variable, ir.Variable]] = {}
        self._weights: dict[Hashable, tuple[ir.Constant, Floats]] = {}

    def weight_of(self, node: ir.Node, index: int) -> ir.Constant:
        """The float32 constant that a layer has as its weight. NoMatch where it has none, or one of another type."""
        constant = constant_of(node.inputs[index]) if index < len(node.inputs) else None
        if constant is None:
            raise NoMatch("")
        if constant.dtype != np.float32:
            raise NoMatch(f"the weight '{node.inputs[index].name}' is {constant.dtype}, and kernels take float32")
        return constant

    def matmul(self, node: ir.Node) -> None:
        """MatMul(x, W) is MatMulInteger of both, times their scales."""
        constant = self.weight_of(node, 1)
        if len(constant.shape) != 2:
            raise NoMatch(f"the weight is of rank {len(constant.shape)}, and has to be a matrix")
        integers, scale = self._weight(node.inputs[1], constant, transposed=False)
        self._product(node, integers, scale, None)

    def gemm(self, node: ir.Node) -> None:
        """alpha x W + beta C is the same with alpha in the scale, and C added."""
        constant = self.weight_of(node, 1)
        alpha, beta = node.attr("alpha", 1.0), node.attr("beta", 1.0)
        if node.attr("transA", 0) or not isinstance(alpha, (int, float)) or not isinstance(beta, (int, float)):
            raise NoMatch("its first input is transposed, or its factors are parameters of a function")
        added = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2].name else None
        if added is not None and beta != 1:
            bias = constant_of(added)
            if bias is None:
                raise NoMatch(f"what it adds is computed, and multiplied by {beta:g}")
            values = np.asarray(bias.read() * np.float32(beta))
            added = ir.Constant(self.edit.fresh(f"{added.name}_scaled"), values)
        integers, scale = self._weight(node.inputs[1], constant, transposed=bool(node.attr("transB", 0)))
        self._product(node, integers, np.asarray(scale * np.float32(alpha)), added)

    def conv(self, node: ir.Node) -> None:
        """Conv is ConvInteger, times the scales, and the bias added."""
        constant = self.weight_of(node, 1)
        stored = self._stored(constant.read(), 0)
        name, rank = node.inputs[1].name, len(constant.shape)
        integers = ir.Constant(self.edit.fresh(f"{name}_quantized"), stored.integers)
        bias = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2].name else None
        if bias is not None:
            numbers = constant_of(bias)
            if numbers is None:
                raise NoMatch("its bias is computed")
            shape = (-1, *[1] * (rank - 2))
            bias = ir.Constant(
                self.edit.fresh(f"{bias.name}_column"), np.ascontiguousarray(numbers.read().reshape(shape))
            )
        scale = stored.scale.reshape(-1, *[1] * (rank - 2)) if stored.scale.ndim else stored.scale
        self._product(node, integers, np.asarray(scale), bias, "ConvInteger", dict(node.attrs))

    def lstm(self, node: ir.Node) -> None:
        """LSTM is DynamicQuantizeLSTM of onnxruntime, with W and R transposed."""
        if node.attr("layout", 0) or any(isinstance(value, ir.Node.AttributeRef) for value in node.attrs.values()):
            raise NoMatch("onnxruntime's has no layout of batches first")
        constants = [self.weight_of(node, index) for index in (1, 2)]
        parts = [self._directions(constant.read()) for constant in constants]
        self._ask(node, "DynamicQuantizeLSTM")
        tail: list[ir.Tensor] = []
        for index, (integers, scale) in enumerate(parts, start=1):
            name = node.inputs[index].name
            self.edit.replace_input(node, index, ir.Constant(self.edit.fresh(f"{name}_quantized"), integers))
            tail.append(ir.Constant(self.edit.fresh(f"{name}_scale"), scale))
            tail.append(ir.Constant(self.edit.fresh(f"{name}_zero_point"), np.zeros(scale.shape, np.int8)))
        node.inputs.extend(ir.Variable.empty() for _ in range(_LSTM_INPUTS - len(node.inputs)))
        node.inputs.extend(tail)
        node.attrs.pop("layout", None)
        node.op, node.domain = "DynamicQuantizeLSTM", CONTRIB
        self.edit.changed = True

    def attention(self, node: ir.Node) -> None:
        """Attention of onnxruntime is its QAttention."""
        constant = self.weight_of(node, 1)
        inputs = [*node.inputs, *[ir.Variable.empty()] * 8][:8]
        if node.attrs.keys() - _ATTENTION_ATTRS or any(tensor.name for tensor in inputs[5:]) or not inputs[2].name:
            raise NoMatch("QAttention has no such attributes or inputs, and needs a bias")
        integers, scale = self._weight(node.inputs[1], constant, transposed=False)
        self._ask(node, "QAttention")
        name = node.inputs[1].name
        quantized, x_scale, x_zero = self._input(node)
        w_scale = ir.Constant(self.edit.fresh(f"{name}_scale"), scale)
        w_zero = ir.Constant(self.edit.fresh(f"{name}_zero_point"), np.zeros(scale.shape, np.int8))
        outputs = list(node.outputs)
        made = ir.Node(
            "QAttention", self.edit.fresh(f"{node.name or name}_quantized"), dict(node.attrs), domain=CONTRIB
        )
        made.inputs.extend([quantized, integers, inputs[2], x_scale, w_scale, inputs[3], x_zero, w_zero, inputs[4]])
        self._take_over(node, made, outputs)

    def _product(
        self,
        node: ir.Node,
        integers: ir.Constant,
        scale: Floats,
        added: ir.Tensor | None,
        op: str = "MatMulInteger",
        attrs: dict[str, object] | None = None,
    ) -> None:
        """The order of nodes is the one that onnxruntime fuses (MatMulIntegerToFloat, DynamicQuantizeMatMul)."""
        self._ask(node, op)
        name = node.name or node.outputs[0].name
        quantized, x_scale, x_zero = self._input(node)
        w_scale = ir.Constant(self.edit.fresh(f"{node.inputs[1].name}_scale"), scale)
        shape = node.outputs[0].shape
        whole = ir.Variable(self.edit.fresh(f"{name}_integers"), np.int32, shape)
        real = ir.Variable(self.edit.fresh(f"{name}_real"), np.float32, shape)
        scales = ir.Variable(self.edit.fresh(f"{name}_scales"), np.float32, list(scale.shape))
        nodes = [
            ir.Node(op, self._name(name, op), dict(attrs or {}), [quantized, integers, x_zero], [whole]),
            ir.Node("Cast", self._name(name, "Cast"), {"to": int(TensorProto.FLOAT)}, [whole], [real]),
            ir.Node("Mul", self._name(name, "scales"), {}, [x_scale, w_scale], [scales]),
        ]
        last = ir.Node("Mul", self._name(name, "Mul"), {}, [real, scales])
        if added is not None:
            product = ir.Variable(self.edit.fresh(f"{name}_product"), np.float32, shape)
            last.outputs.append(product)
            nodes.append(last)
            last = ir.Node("Add", self._name(name, "Add"), {}, [product, added])
        self.edit.insert_before(node, *nodes)
        self._take_over(node, last, list(node.outputs))

    def _take_over(self, node: ir.Node, made: ir.Node, outputs: list[ir.Tensor]) -> None:
        """`made` stands where `node` stood, and makes its very outputs."""
        self.edit.insert_before(node, made)
        node.outputs.clear()
        sources = [tensor.producer for tensor in node.inputs]
        self.edit.remove(node)
        made.outputs.extend(outputs)
        for source in sources:
            is_constant = source is not None and source.is_op("Constant") and not self.edit.was_removed(source)
            if is_constant and not self.edit.is_used(source.outputs[0]):
                self.edit.remove(source)

    def _ask(self, node: ir.Node, op: str) -> None:
        if not self.allow(f"computed in integers, as {op}", node):
            raise NoMatch("")

    def _name(self, name: str, what: str) -> str:
        return self.edit.fresh(f"{name}_{what}")

    def _input(self, node: ir.Node) -> tuple[ir.Variable, ir.Variable, ir.Variable]:
        """uint8 values, scale and zero point of the first input; for all layers of a graph that read it."""
        tensor, scope = node.inputs[0], self.edit.scope_of(node)
        found = self._inputs.get((tensor, scope))
        if found is None:
            found = (
                ir.Variable(self.edit.fresh(f"{tensor.name}_quantized"), np.uint8, tensor.shape),
                ir.Variable(self.edit.fresh(f"{tensor.name}_scale"), np.float32, []),
                ir.Variable(self.edit.fresh(f"{tensor.name}_zero_point"), np.uint8, []),
            )
            self._inputs[tensor, scope] = found
            maker = ir.Node("DynamicQuantizeLinear", self._name(tensor.name, "quantize"), {}, [tensor], list(found))
            self.edit.insert_before(node, maker)
        return found

    def _weight(self, tensor: ir.Tensor, constant: ir.Constant, transposed: bool) -> tuple[ir.Constant, Floats]:
        """A matrix [K, N] of int8, and the scales of its columns; stored once however many layers read it."""
        key = (constant, transposed)
        if key not in self._weights:
            values = constant.read()
            stored = self._stored(values.T if transposed else values, 1)
            whole = np.ascontiguousarray(stored.integers)
            self._weights[key] = ir.Constant(self.edit.fresh(f"{tensor.name}_quantized"), whole), stored.scale
        return self._weights[key]

    def _directions(self, values: Array) -> tuple[npt.NDArray[np.int8], Floats]:
        """Of [directions, 4 H, I] the int8 values [directions, I, 4 H], and scales a direction and channel."""
        parts = [self._stored(part, 0) for part in values]
        integers = np.stack([np.ascontiguousarray(part.integers.T) for part in parts])
        return integers, np.stack([part.scale for part in parts])

    def _stored(self, values: Array, axis: int) -> Stored:
        try:
            return store(values, "int8", axis if self.per_channel else None)
        except NotFinite:
            raise NoMatch("its weight holds NaN or infinities") from None
