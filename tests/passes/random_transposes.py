"""Random graphs of Transposes and of what they may be moved past."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Dims = tuple[int, ...]
UNARY = ("Relu", "Neg", "Abs", "Identity", "Sigmoid", "Floor")


class Builder:
    """One model, node by node; the first dimension of some inputs is symbolic."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.opset = self.rng.choice((11, 13, 17, 18, 21))
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.values: list[tuple[str, Dims]] = []
        for index in range(self.rng.choice((1, 1, 2))):
            shape = tuple(self.rng.choice((1, 2, 3, 4)) for _ in range(self.rng.choice((2, 3, 3, 4, 4))))
            dims: list[int | str] = list(shape)
            if self.rng.random() < 0.4:
                dims[0] = f"n{index}"
            name = f"x{index}"
            self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
            self.values.append((name, shape))
        self.fed = dict(self.values)

    def weight(self, values: Any, dtype: Any = np.int64) -> str:
        name = f"w{len(self.weights)}"
        array = np.asarray(values, dtype)
        if self.rng.random() < 0.2:
            self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
            self.weights.append(numpy_helper.from_array(array, name + "_unused"))
        else:
            self.weights.append(numpy_helper.from_array(array, name))
        return name

    def add(self, op: str, inputs: list[str], shapes: list[Dims], **attrs: Any) -> None:
        names = [f"v{len(self.values) + index}" for index in range(len(shapes))]
        self.nodes.append(helper.make_node(op, inputs, names, **attrs))
        self.values += list(zip(names, shapes, strict=True))

    def pick(self) -> tuple[str, Dims]:
        return self.rng.choice(self.values[-6:])

    def step(self) -> None:
        name, shape = self.pick()
        kinds = [
            self._transpose,
            self._transpose,
            self._transpose,
            self._unary,
            self._binary,
            self._binary,
            self._axis_op,
        ]
        kinds += [self._reduce, self._view, self._cut, self._quantize, self._opaque, self._shape]
        self.rng.choice(kinds)(name, shape)

    def _transpose(self, name: str, shape: Dims) -> None:
        perm = list(range(len(shape)))
        same = [node for node in self.nodes if node.op_type == "Transpose" and len(node.attribute)]
        self.rng.shuffle(perm)
        known = [list(node.attribute[0].ints) for node in same if len(node.attribute[0].ints) == len(shape)]
        if known and self.rng.random() < 0.7:
            perm = self.rng.choice(known)
            if self.rng.random() < 0.6:
                perm = [perm.index(axis) for axis in range(len(perm))]
        self.add("Transpose", [name], [tuple(shape[axis] for axis in perm)], perm=perm)

    def _unary(self, name: str, shape: Dims) -> None:
        self.add(self.rng.choice(UNARY), [name], [shape])

    def _binary(self, name: str, shape: Dims) -> None:
        op = self.rng.choice(("Add", "Mul", "Sub", "Max"))
        fitting = [value for value in self.values if value[1] == shape]
        if self.rng.random() < 0.6 or not fitting:
            other = tuple(self.rng.choice((dim, dim, 1)) for dim in shape[self.rng.randrange(len(shape) + 1) :])
            operand = self.weight(np.random.default_rng(len(self.nodes)).normal(size=other), np.float32)
            if self._is_open(name):
                operand = self.weight(0.5, np.float32)
        else:
            operand = self.rng.choice(fitting)[0]
        pair = [name, operand]
        self.rng.shuffle(pair)
        self.add(op, pair, [shape])

    def _is_open(self, name: str) -> bool:
        return False  # symbolic dimensions are fed at one binding, to which constants fit

    def _axis_op(self, name: str, shape: Dims) -> None:
        axis = self.rng.randrange(len(shape))
        op = self.rng.choice(("Softmax", "CumSum", "Concat", "Split", "Gather", "LayerNormalization"))
        if op == "Softmax":
            self.add(op, [name], [shape], axis=axis)
        elif op == "CumSum":
            self.add(op, [name, self.weight(axis)], [shape])
        elif op == "Concat":
            others = [value for value in self.values if value[1] == shape]
            many = [name, self.rng.choice(others)[0], self.weight(np.ones(shape), np.float32)][
                : self.rng.choice((2, 3))
            ]
            self.add(op, many, [(*shape[:axis], shape[axis] * len(many), *shape[axis + 1 :])], axis=axis)
        elif op == "Split" and shape[axis] > 1:
            sizes = [1, shape[axis] - 1]
            parts = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
            if self.opset < 13:
                self.add(op, [name], parts, axis=axis, split=sizes)
            else:
                self.add(op, [name, self.weight(sizes)], parts, axis=axis)
        elif op == "Gather":
            index = self.rng.randrange(shape[axis])
            scalar = self.rng.random() < 0.5 and len(shape) > 2
            kept = () if scalar else (1,)
            self.add(
                op,
                [name, self.weight(index if scalar else [index])],
                [(*shape[:axis], *kept, *shape[axis + 1 :])],
                axis=axis,
            )
        elif op == "LayerNormalization" and self.opset >= 17:
            scale = self.weight(np.ones(shape[axis:]), np.float32)
            self.add(op, [name, scale], [shape], axis=axis - len(shape))

    def _reduce(self, name: str, shape: Dims) -> None:
        axes = sorted(self.rng.sample(range(len(shape)), self.rng.choice((1, 1, 2))))
        keepdims = int(self.rng.random() < 0.5 or len(shape) - len(axes) < 2)
        op = self.rng.choice(("ReduceMax", "ReduceMean", "ReduceSum", "ReduceMin"))
        after = tuple(1 if a in axes else d for a, d in enumerate(shape) if keepdims or a not in axes)
        if self.opset >= (13 if op == "ReduceSum" else 18):
            self.add(op, [name, self.weight(axes)], [after], keepdims=keepdims)
        else:
            self.add(op, [name], [after], keepdims=keepdims, axes=axes)

    def _view(self, name: str, shape: Dims) -> None:
        kind = self.rng.choice(("Unsqueeze", "Squeeze", "Reshape", "Flatten", "Reshape"))
        if kind == "Unsqueeze" and len(shape) < 5:
            axis = self.rng.randrange(len(shape) + 1)
            self._with_axes(kind, name, [axis], (*shape[:axis], 1, *shape[axis:]))
        elif kind == "Squeeze" and 1 in shape[1:] and len(shape) > 2:
            axis = shape.index(1, 1)
            self._with_axes(kind, name, [axis], (*shape[:axis], *shape[axis + 1 :]))
        elif kind == "Reshape" and len(shape) > 2:
            axis = self.rng.randrange(len(shape) - 1)
            after = (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])
            target: list[int] = list(after)
            if self.rng.random() < 0.5:
                target[axis] = -1
            if axis and self.rng.random() < 0.5:
                target[0] = 0
            self.add(kind, [name, self.weight(target)], [after])
        elif kind == "Reshape" and shape[-1] == 4:
            self.add(kind, [name, self.weight([*shape[:-1], 2, 2])], [(*shape[:-1], 2, 2)])
        elif kind == "Flatten":
            axis = self.rng.randrange(1, len(shape))
            self.add(kind, [name], [(int(np.prod(shape[:axis])), int(np.prod(shape[axis:])))], axis=axis)

    def _with_axes(self, op: str, name: str, axes: list[int], after: Dims) -> None:
        if self.opset >= 13:
            self.add(op, [name, self.weight(axes)], [after])
        else:
            self.add(op, [name], [after], axes=axes)

    def _cut(self, name: str, shape: Dims) -> None:
        axis = self.rng.randrange(len(shape))
        kind = self.rng.choice(("Slice", "Pad", "Tile", "Expand"))
        if kind == "Slice" and shape[axis] > 1:
            after = (*shape[:axis], shape[axis] - 1, *shape[axis + 1 :])
            more = [self.weight([axis])] if axis or self.rng.random() < 0.5 else []
            self.add(kind, [name, self.weight([1]), self.weight([100]), *more], [after])
        elif kind == "Pad" and shape[axis] < 8:
            pads = [0] * 2 * len(shape)
            pads[axis] = 1
            self.add(kind, [name, self.weight(pads)], [(*shape[:axis], shape[axis] + 1, *shape[axis + 1 :])])
        elif kind == "Tile" and shape[axis] < 4:
            counts = [1 + (other == axis) for other in range(len(shape))]
            self.add(kind, [name, self.weight(counts)], [(*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])])
        elif kind == "Expand":
            after = tuple(3 if dim == 1 else dim for dim in shape)
            self.add(kind, [name, self.weight([3 if dim == 1 else 1 for dim in shape])], [after])

    def _quantize(self, name: str, shape: Dims) -> None:
        axis = self.rng.randrange(len(shape))
        per_axis = self.opset >= 13 and self.rng.random() < 0.5
        scale = self.weight(np.full(shape[axis] if per_axis else (), 0.25), np.float32)
        zero = self.weight(np.zeros(shape[axis] if per_axis else ()), np.int8)
        attrs: dict[str, Any] = {"axis": axis} if per_axis else {}
        self.add("QuantizeLinear", [name, scale, zero], [shape], **attrs)
        quantized = self.values.pop()[0]
        self.nodes.append(helper.make_node("DequantizeLinear", [quantized, scale, zero], [quantized + "_d"], **attrs))
        self.values.append((quantized + "_d", shape))

    def _opaque(self, name: str, shape: Dims) -> None:
        if len(shape) == 2:
            matrix = self.weight(np.random.default_rng(len(self.nodes)).normal(size=(shape[1], 3)), np.float32)
            if self.rng.random() < 0.5:
                self.add("Gemm", [name, matrix], [(shape[0], 3)])
            else:
                self.add("MatMul", [name, matrix], [(shape[0], 3)])
        elif len(shape) == 3 and self.rng.random() < 0.5:
            matrix = self.weight(np.random.default_rng(len(self.nodes)).normal(size=(shape[2], 2)), np.float32)
            self.add("MatMul", [name, matrix], [(*shape[:2], 2)])
        else:
            self.add("DepthToSpace" if shape[1:2] == (4,) and len(shape) == 4 else "GlobalMaxPool", [name],
                     [(shape[0], 1, 2 * shape[2], 2 * shape[3]) if shape[1:2] == (4,) and len(shape) == 4
                      else (*shape[:2], *[1] * (len(shape) - 2))],
                     **({"blocksize": 2} if shape[1:2] == (4,) and len(shape) == 4 else {}))  # fmt: skip

    def _shape(self, name: str, shape: Dims) -> None:
        axis = self.rng.randrange(len(shape))
        self.nodes.append(helper.make_node("Shape", [name], [f"s{len(self.nodes)}"]))
        whole = self.nodes[-1].output[0]
        picked = self.weight([axis])
        self.nodes.append(helper.make_node("Gather", [whole, picked], [whole + "_g"]))
        self.nodes.append(helper.make_node("Cast", [whole + "_g"], [whole + "_c"], to=TensorProto.FLOAT))
        self.add("Add", [name, whole + "_c"], [shape])


def random_transposes(seed: int) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """A model, which onnxruntime may refuse, and inputs for it."""
    builder = Builder(seed)
    for _ in range(builder.rng.randrange(3, 16)):
        builder.step()
    made = [value for value in builder.values if value[0] not in builder.fed]
    read = {name for node in builder.nodes for name in node.input}
    outputs = [value for value in made if value[0] not in read or builder.rng.random() < 0.1]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(shape)) for name, shape in outputs]
    unused = [weight for weight in builder.weights if not weight.name.endswith("_unused")]
    graph = helper.make_graph(builder.nodes, "g", builder.inputs, infos, unused)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", builder.opset)], ir_version=8)
    numbers = np.random.default_rng(seed)
    feeds = {name: numbers.normal(size=shape).astype(np.float32) for name, shape in builder.fed.items()}
    return model, feeds
