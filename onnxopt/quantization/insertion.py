"""Carries out a plan: Q/DQ pairs round activations, integers for weights and biases."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.errors import BadData
from onnxopt.ir.edit import Edit
from onnxopt.pipeline.base import Context
from onnxopt.quantization.encoding import Encoding, Integer
from onnxopt.quantization.operands import limits_of, value_inputs
from onnxopt.quantization.pairs import Pairs
from onnxopt.quantization.placement import Key
from onnxopt.quantization.plan import Bias, Group, Pair, Plan, Stored
from onnxopt.quantization.ranges import Ranges
from onnxopt.quantization.selection import Role
from onnxopt.quantization.weights import WeightMethod, bias_scale, fit_for_bias, quantize_bias, weight_encoding

_INT32 = Integer("int32", symmetric=True)
_HUGE = 1e30
"""A magnitude that no activation has, but the masks of attention have."""
_MASK = 100.0
"""What a mask is cut off at: a Softmax still makes nothing of it (e^-100), and steps are left for the rest."""


def insert(graph: ir.Graph, plan: Plan, ranges: Ranges, ctx: Context, method: WeightMethod = "minmax") -> bool:
    """Carry out a plan on the graph that it was made for; return whether anything changed.

    Args:
        graph: The model.
        plan: What to do; of `plan`.
        ranges: Of every tensor that `plan.requests` names.
        ctx: Is asked before each tensor.
        method: How weights are clipped.

    Raises:
        BadData: A range is missing.
    """
    with ir.edit(graph) as edit:
        _Inserting(edit, plan, ranges, ctx, method).run()
    return edit.changed


class _Inserting:
    def __init__(self, edit: Edit, plan: Plan, ranges: Ranges, ctx: Context, method: WeightMethod) -> None:
        self.edit, self.plan, self.ranges, self.ctx, self.method = edit, plan, ranges, ctx, method
        self.pairs = Pairs(edit)
        self.encodings: dict[Key, Encoding] = {}
        """Of the activations that were quantized."""
        self.made: dict[tuple[object, ...], ir.Tensor] = {}
        """What stands for a constant: one for every encoding of it."""
        self.raised: list[str] = []

    def run(self) -> None:
        groups = [(group, self._encoding(group)) for group in self.plan.groups]
        for group, encoding in groups:
            for pair in group.pairs:
                self._activation(pair, encoding, group.pairs[0].tensor.name)
            for stored in group.constants:
                if self.ctx.allow(f"{stored.constant.name} to {stored.integer.name}", stored.use[0]):
                    self._constant(stored, encoding)
        biases = {id(bias.weight): bias for bias in self.plan.biases}
        for weight in self.plan.weights:
            if self.ctx.allow(f"{weight.constant.name} to {weight.integer.name}", weight.use[0]):
                self._weight(weight, biases.get(id(weight)))
        if self.raised:
            self.ctx.warn(
                f"{len(self.raised)} scales of weights were raised so that biases fit into int32: "
                f"{', '.join(sorted(set(self.raised))[:5])}"
            )

    def _encoding(self, group: Group) -> Encoding:
        ends = [(pair.tensor.name, *self._range(pair.tensor)) for pair in group.pairs if pair.is_calibrated]
        ends += [(stored.constant.name, *_extent(stored.constant)) for stored in group.constants]
        lows, highs = [0.0], [0.0]
        for name, low, high in ends:
            if max(-low, high) > _HUGE:
                self.ctx.warn(f"'{name}' reaches from {low:g} to {high:g}, as a mask does: it is cut off at {_MASK:g}")
                low, high = max(low, -_MASK) if low < -_HUGE else low, min(high, _MASK) if high > _HUGE else high
            lows.append(low)
            highs.append(high)
        return Encoding.of_range(min(lows), max(highs), group.integer)

    def _range(self, tensor: ir.Tensor) -> tuple[float, float]:
        """Where the values of a tensor lie: as calibrated, or as those that an operator hands on to it."""
        found = self.ranges.by_name.get(tensor.name)
        if found is not None:
            return float(np.min(found.low)), float(np.max(found.high))
        node = tensor.producer
        if node is None or self.plan.selection.roles.get(node) is not Role.SHARED:
            raise BadData(
                f"quantize: there is no calibrated range of '{tensor.name}': run calibrate right before quantize"
            )
        values = self.plan.selection.values
        known = [node.inputs[index] for index in value_inputs(node)]
        ends = [self._range(each) for each in known if each not in values]
        ends += [_extent(values[each]) for each in known if each in values]
        return min(low for low, _ in ends), max(high for _, high in ends)

    def _activation(self, pair: Pair, encoding: Encoding, prefix: str) -> None:
        tensor = pair.tensor
        if not self.ctx.allow(f"{tensor.name} to {pair.integer.name}", tensor.producer or pair.readers[0][0]):
            return
        self.encodings[tensor, pair.integer] = encoding
        self.ctx.count("activations")
        if pair.is_whole:
            self._whole(tensor, encoding, prefix)
            return
        quantize = self.pairs.quantize(tensor, tensor.name, encoding, prefix)
        target = ir.Variable(self.edit.fresh(f"{tensor.name}_dq"), np.float32, tensor.shape)
        dequantize = self.pairs.dequantize(quantize.outputs[0], target, encoding, prefix)
        self.edit.insert_before(pair.readers[0][0], quantize, dequantize)
        for node, index in pair.readers:
            self.edit.replace_input(node, index, target)

    def _whole(self, tensor: ir.Tensor, encoding: Encoding, prefix: str) -> None:
        """Let all readers, and the graph, have what is dequantized under the name that they know."""
        producer = tensor.producer
        index = next(i for i, each in enumerate(producer.outputs) if each is tensor)
        raw: ir.Tensor = ir.Variable(self.edit.fresh(f"{tensor.name}_raw"), np.float32, tensor.shape)
        producer.outputs[index] = raw
        at = producer
        while self.plan.rules.clipping == "drop" and at in self.plan.fused and _clips_nothing(at, encoding):
            if not self.ctx.allow("dropped: the integers end where it clips", at):
                break
            raw, gone = at.inputs[0], at
            self.edit.remove(gone)
            at = raw.producer
            self.ctx.count("activation functions dropped")
        quantize = self.pairs.quantize(raw, tensor.name, encoding, prefix)
        self.edit.insert_after(producer, quantize, self.pairs.dequantize(quantize.outputs[0], tensor, encoding, prefix))
        self.edit.changed = True

    def _weight(self, weight: Stored, bias: Bias | None) -> None:
        values = weight.constant.read()
        encoding = weight_encoding(values, weight.integer, weight.axis, self.method)
        data = None if bias is None else self.encodings.get(bias.data)
        if bias is None or data is None:
            self._constant(weight, encoding)
            return
        added = _fitting(bias.constant.read(), encoding)
        if added is None:
            self.ctx.refuse(
                f"its bias '{bias.constant.name}' is no vector over its outputs and stays in float", bias.use[0]
            )
            self._constant(weight, encoding)
            return
        encoding, raised = fit_for_bias(encoding, values, added, data)
        if raised:
            self.raised += [weight.constant.name] * raised
        self._constant(weight, encoding)
        scale = bias_scale(data, encoding)
        axis = None if scale.ndim == 0 else 0
        stored = Encoding(_INT32, scale, np.zeros(scale.shape, np.int32), axis)
        self._replace(bias, quantize_bias(added, scale), stored)
        self.ctx.count("biases")

    def _constant(self, stored: Stored, encoding: Encoding) -> None:
        self._replace(stored, None, encoding)
        self.ctx.count("constants")

    def _replace(self, stored: Stored | Bias, integers: np.ndarray | None, encoding: Encoding) -> None:
        """Let one use of a constant read it dequantized."""
        node, index = stored.use
        old = node.inputs[index]
        bare = node.op in self.plan.rules.bare
        parameters = (encoding.scale.tobytes(), encoding.zero_point.tobytes())
        key = (id(stored.constant), encoding.integer.name, encoding.axis, bare, *parameters)
        if key not in self.made:
            if integers is None:
                integers = encoding.quantize(stored.constant.read())
            dequantize = self.pairs.stored(old, integers, encoding, bare)
            self.edit.insert_before(node, dequantize)
            self.made[key] = dequantize.outputs[0]
        self.edit.replace_input(node, index, self.made[key])
        self._remove_unread(old)

    def _remove_unread(self, tensor: ir.Tensor) -> None:
        """Remove the Constant node that nothing reads any more."""
        while tensor.producer is not None and not self.edit.is_used(tensor):
            node = tensor.producer
            before = node.inputs[0] if node.inputs else None
            self.edit.remove(node)
            if before is None:
                break
            tensor = before


def _extent(constant: ir.Constant) -> tuple[float, float]:
    values = constant.read()
    return float(values.min(initial=0.0)), float(values.max(initial=0.0))


def _clips_nothing(node: ir.Node, encoding: Encoding) -> bool:
    """Whether integers saturate no later than a Relu or Clip does: Q(clip(x)) = Q(x) for every x, in float32."""
    low, high = limits_of(node) or (None, None)
    info = np.iinfo(encoding.integer.dtype)
    zero = int(encoding.zero_point)
    scale = encoding.scale
    return (low is None or float(np.rint(np.float32(low) / scale)) + zero <= info.min) and (
        high is None or float(np.rint(np.float32(high) / scale)) + zero >= info.max
    )


def _fitting(bias: np.ndarray, weight: Encoding) -> np.ndarray | None:
    """A bias as a vector over the channels of a weight with a scale each; None where it is none."""
    if weight.axis is None:
        return bias
    channels = weight.scale.size
    if bias.size == 1:
        return np.broadcast_to(bias.reshape(-1), (channels,))
    return bias.reshape(-1) if bias.size == channels and bias.shape[-1] == channels else None
