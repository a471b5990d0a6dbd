"""`requantize`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import numpy as np

from onnxopt import ir
from onnxopt.errors import CheckFailed
from onnxopt.ir.known import known_value
from onnxopt.ir.values import Array
from onnxopt.linear.match import constant_of
from onnxopt.pipeline.base import Context, Pass, describe
from onnxopt.quantization.legality import CHECKS, violations
from onnxopt.quantization.legality.facts import Coding, Facts, coding

_FLIP = np.uint8(0x80)
"""q of uint8 is q - 128 of int8, and in two's complement that is this bit turned over."""
_ANY = "onnx"


@dataclass(frozen=True)
class _Wanted:
    """What a target wants otherwise, as far as it can be had without loss."""

    activations: str = ""
    """The 8-bit type of activations; empty where it is left."""
    weights: str = ""
    """That of weights."""
    only_zero: bool = False
    """Whether the zero point has to be 0 then."""
    float_biases: bool = False
    written: bool = False
    """Whether a zero point of 0 has to be written."""
    scalars: bool = False
    """Whether the one scale of an activation has to be a scalar, and no list of one."""


_WANTED = {
    "onnx": _Wanted(),
    "qnn": _Wanted(activations="uint8"),
    "qnn-kit": _Wanted(activations="uint8"),
    "tensorrt": _Wanted("int8", "int8", only_zero=True, float_biases=True, written=True, scalars=True),
    "coreml": _Wanted("int8", "int8", only_zero=True, float_biases=True),
    "coreml-kit": _Wanted("int8", "int8", only_zero=True, float_biases=True),
}


@dataclass(frozen=True)
class Requantize(Pass):
    """Fit a quantized model (QuantizeLinear, DequantizeLinear) to another target, where no bit of its outputs changes.

    For tensorrt and coreml: a bias of int32 becomes float; activations and weights of uint8 with the zero point 128
    become int8 with 0; tensorrt has a zero point that is left out written, and the scale of an activation as a scalar,
    since its builder takes a list of one for scales of channels. For qnn: activations of int8 become uint8,
    their zero points 128 more. For onnx (or no target) all is as it should be.

    Refused, with the reason: other zero points where the target takes 0 only; scales or zero points that are computed;
    integers that something but a DequantizeLinear reads or that are an input or output of the model; biases whose
    scale is not float32. What then still breaks the target's rules is an error that names it, since the target would
    refuse the model or compute something else; what only costs speed is a warning. In every scope.
    """

    leftover: Literal["error", "warn"] = "error"
    """What comes of a model that after this still breaks the rules of the target: an error, or a warning."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed. CheckFailed where it does not fit the target."""
        target = ctx.target or _ANY
        facts = Facts(graph)
        with ir.edit(graph) as edit:
            work = _Retargeting(facts, edit, ctx, _WANTED[target])
            work.run()
        if target in CHECKS and facts.codings:
            self._tell(graph, ctx, target, fatal=self.leftover == "error" and not work.was_stopped)
        return edit.changed

    def _tell(self, graph: ir.Graph, ctx: Context, target: str, fatal: bool) -> None:
        found = violations(graph, target)
        for is_wrong in (True, False):
            some = [one for one in found if one.is_wrong is is_wrong]
            if not some:
                continue
            what = f"does not fit {target}" if is_wrong else f"fits {target}, but not all of it pays"
            more = f" (and {len(some) - 1} more)" if len(some) > 1 else ""
            text = f"the model {what}: {some[0].node}: {some[0].reason}{more}"
            if is_wrong and fatal:
                raise CheckFailed(f"requantize: {text}")
            ctx.warn(text)


class _Retargeting:
    def __init__(self, facts: Facts, edit: ir.Edit, ctx: Context, wanted: _Wanted) -> None:
        self.facts, self.edit, self.ctx, self.wanted = facts, edit, ctx, wanted
        self.was_stopped = False
        """Whether a rewrite was not allowed."""
        self._moved: dict[ir.Tensor, ir.Constant] = {}
        self._scalars: dict[ir.Tensor, ir.Constant] = {}

    def run(self) -> None:
        activations = list(self.facts.activations)
        groups: defaultdict[ir.Tensor, list[Coding]] = defaultdict(list)
        for one in self.facts.codings:
            if one.node in self.facts.bias_nodes:
                if self.wanted.float_biases:
                    self._free_bias(one)
            else:
                groups[one.result if one.is_quantize else one.source].append(one)
        for integers, codings in groups.items():
            self._retype(integers, codings)
        if self.wanted.written:
            for one in self.facts.codings:
                self._write_zero(one)
        if self.wanted.scalars:
            for one in activations:
                self._make_scalar(one)

    def _allow(self, what: str, node: ir.Node) -> bool:
        allowed = self.ctx.allow(what, node)
        self.was_stopped |= not allowed
        return allowed

    def _free_bias(self, bias: Coding) -> None:
        """int32 to float: what DequantizeLinear computes, done now. (n - 0) * scale is one product of float32."""
        constant = constant_of(bias.source)
        scale = bias.scale
        if constant is None or scale is None or scale.dtype != np.float32 or bias.block:
            self.ctx.refuse("the bias stays quantized: it is not a constant with a scale of float32", bias.node)
            return
        if bias.has_zero and (bias.zero is None or bias.zero.any()):
            self.ctx.refuse("the bias stays quantized: its zero point is not 0", bias.node)
            return
        if self.edit.is_output(bias.result):
            self.ctx.refuse("the bias stays quantized: it is an output of the model", bias.node)
            return
        if self._allow("a bias of integers becomes float", bias.node):
            numbers = constant.read()
            wide = scale if bias.axis is None else scale.reshape(_along(bias.axis, numbers.ndim))
            values = np.asarray(numbers.astype(np.float32) * wide)
            self._replace(bias.node, ir.Constant(self.edit.fresh(f"{bias.source.name}_float"), values))

    def _replace(self, node: ir.Node, constant: ir.Constant) -> None:
        self.edit.replace_all_uses(node.outputs[0], constant)
        sources = [tensor.producer for tensor in node.inputs]
        self.edit.remove(node)
        for source in sources:
            self._remove_unread(source)

    def _remove_unread(self, node: ir.Node | None) -> None:
        if node is not None and node.is_op("Constant") and not self.edit.is_used(node.outputs[0]):
            self.edit.remove(node)

    def _retype(self, integers: ir.Tensor, codings: list[Coding]) -> None:
        """Shift all that writes and reads one tensor of integers between uint8 and int8."""
        is_weight = all(one.is_constant for one in codings)
        new = self.wanted.weights if is_weight else self.wanted.activations
        kinds = {one.integers for one in codings}
        if not new or kinds == {new} or not kinds & {"int8", "uint8"}:
            return
        old = "uint8" if new == "int8" else "int8"
        reason = self._obstacle(integers, codings, old)
        if reason is not None:
            self.ctx.refuse(f"{old} stays: {reason}", codings[0].node)
        elif self._allow(f"{old} becomes {new}", codings[0].node):
            self._shift(integers, codings, new)

    def _obstacle(self, integers: ir.Tensor, codings: list[Coding], old: str) -> str | None:
        constant = constant_of(integers)
        maker = coding(integers.producer, codings[0].opset)
        if constant is None and (maker is None or not maker.is_quantize):
            return f"'{integers.name}' is no constant, and no QuantizeLinear makes it"
        if self.edit.is_output(integers):
            return f"'{integers.name}' is an output of the model, and keeps its type"
        readers = {one.node for one in codings}
        other = next((node for node in integers.outputs if constant is None and node not in readers), None)
        if other is not None:
            return f"{describe(other)} reads the integers of '{integers.name}' as they are"
        for one in codings:
            if one.integers != old:
                return f"{describe(one.node)} is of {one.integers or 'an unknown type'}"
            if one.has_zero and one.zero is None:
                return f"the zero point of {describe(one.node)} is computed"
            zeros = np.zeros(1, np.int64) if one.zero is None else one.zero.astype(np.int64)
            if self.wanted.only_zero and (zeros != 128).any():
                return f"its zero point is {int(zeros[zeros != 128].flat[0])}, and only 128 becomes the 0 of int8"
        return None

    def _shift(self, integers: ir.Tensor, codings: list[Coding], new: str) -> None:
        for one in codings:
            node = one.node
            if one.has_zero:
                self.edit.replace_input(node, 2, self._flipped(node.inputs[2], new))
            else:
                self._add_zero(one, np.full(self._zeros(one), -128 if new == "int8" else 128).astype(new))
            if one.is_quantize:
                node.attrs.pop("output_dtype", None)  # the zero point says it; of DequantizeLinear it is the float type
            if constant_of(integers) is not None and not one.is_quantize:
                self.edit.replace_input(node, 0, self._flipped(integers, new))
                self._remove_unread(integers.producer)
        if isinstance(integers, ir.Variable):
            integers.dtype = np.dtype(new)

    def _flipped(self, tensor: ir.Tensor, new: str) -> ir.Constant:
        """The other type's constant, once for all that read it."""
        if tensor not in self._moved:
            constant = constant_of(tensor)
            assert constant is not None, "the obstacle says that it is known"
            values: Array = np.asarray(np.asarray(constant.read()).view(np.uint8) ^ _FLIP).view(new)
            self._moved[tensor] = ir.Constant(self.edit.fresh(f"{tensor.name}_{new}"), values)
        return self._moved[tensor]

    def _zeros(self, one: Coding) -> tuple[int, ...]:
        return () if one.scale is None else one.scale.shape

    def _write_zero(self, one: Coding) -> None:
        node = one.node
        if node not in self.facts.bias_nodes and not one.has_zero and node.inputs and one.integers == "int8":
            if one.scale is None:
                self.ctx.refuse("no zero point is written: the scale is computed, and its shape not known", node)
            elif self._allow("the zero point 0 is written", node):
                self._add_zero(one, np.zeros(self._zeros(one), np.int8))
                if one.is_quantize:
                    node.attrs.pop("output_dtype", None)

    def _make_scalar(self, one: Coding) -> None:
        """The scale and the zero point of an activation: what is of shape [1] is made of shape []."""
        known = {index: known_value(tensor) for index, tensor in enumerate(one.node.inputs) if index}
        lists = {index: value for index, value in known.items() if value is not None and value.shape == (1,)}
        if 1 in lists and self._allow("a scale of shape [1] becomes a scalar", one.node):
            for index, value in lists.items():
                tensor = one.node.inputs[index]
                if tensor not in self._scalars:
                    scalar = np.asarray(value).reshape(())
                    self._scalars[tensor] = ir.Constant(self.edit.fresh(f"{tensor.name}_scalar"), scalar)
                self.edit.replace_input(one.node, index, self._scalars[tensor])
                self._remove_unread(tensor.producer)

    def _add_zero(self, one: Coding, values: Array) -> None:
        tensor = ir.Constant(self.edit.fresh(f"{one.node.inputs[1].name}_zero_point"), values)
        if len(one.node.inputs) > 2:
            self.edit.replace_input(one.node, 2, tensor)
        else:
            one.node.inputs.append(tensor)
            self.edit.changed = True


def _along(axis: int, rank: int) -> list[int]:
    shape = [1] * rank
    shape[axis] = -1
    return shape
