"""Per-channel arithmetic that stands alone, with a BatchNormalization or without one, is one BatchNormalization."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.dtypes import DType
from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Constant
from onnxopt.linear.affine import ARITHMETIC, EPSILON
from onnxopt.linear.chain import Chain, compose, require_image, require_no_group_norm, steps_from
from onnxopt.linear.match import (
    Float64,
    Gate,
    NoMatch,
    as_float64,
    attribute,
    constant_of,
    remove,
    required_constant,
    rounded,
    set_constant,
)
from onnxopt.linear.setting import Setting
from onnxopt.linear.spelled import ends_norm

_TYPES = {np.dtype(np.float32), np.dtype(np.float64)}
"""What runtimes have a BatchNormalization of on every device."""


def merge_into_batch_norm(edit: Edit, scope: Graph, first: Node, gate: Gate, setting: Setting) -> int:
    """Make the per-channel operations in a row that begin with `first` one BatchNormalization; return how many.

    A BatchNormalization among them keeps its name, its mean and its variance, and gets a new scale and bias: of
    y = F x + T, scale = F sqrt(variance + epsilon), bias = T + F mean. Where there is none, one is made of mean 0,
    variance 1 and epsilon 0, whose scale and bias are F and T.
    """
    merged = 0
    steps = steps_from(edit, scope, first)
    while len(steps) > 1:
        try:
            chain, steps = compose(steps, scope.opset, setting)
            norm = chain.batch_norm
            parameters = _new_parameters(chain) if norm is None else _parameters(norm, chain)
        except NoMatch as no:
            gate.refuse(f"not made one BatchNormalization: {no}", first)
            break
        if not gate.allow(f"make {chain.names} one BatchNormalization", norm or chain.nodes[-1]):
            break
        merged += len(chain.nodes)
        if norm is None:
            _insert(edit, chain, *parameters)
        else:
            _rewrite(edit, norm, chain, *parameters)
    return merged


def _parameters(norm: Node, chain: Chain) -> tuple[Float64, Float64]:
    scale, bias, mean, variance = (required_constant(tensor, "parameter") for tensor in norm.inputs[1:5])
    spread = np.sqrt(as_float64(variance) + attribute(norm, "epsilon", EPSILON))
    factor, shift = chain.affine.scale, chain.affine.shift
    return (
        _rounded(factor * spread, scale.dtype, "scale"),
        _rounded(shift + factor * as_float64(mean), bias.dtype, "bias"),
    )


def _new_parameters(chain: Chain) -> tuple[Float64, Float64]:
    require_image(chain)
    require_no_group_norm(chain)
    if ends_norm(chain.nodes[0]):
        raise NoMatch("they end a normalization, which engines fuse as a whole")
    if chain.affine.is_scale or chain.affine.is_shift:
        raise NoMatch("together they only scale or only shift: run merge-arithmetic")
    dtype = _dtype(chain)
    if dtype not in _TYPES:
        raise NoMatch(f"not every runtime has a BatchNormalization of {dtype}")
    return _rounded(chain.affine.scale, dtype, "scale"), _rounded(chain.affine.shift, dtype, "bias")


def _dtype(chain: Chain) -> DType:
    constants = (constant_of(tensor) for node in chain.nodes if node.is_op(*ARITHMETIC) for tensor in node.inputs)
    return next(constant.dtype for constant in constants if constant is not None)


def _rounded(exact: Float64, dtype: DType, role: str) -> Float64:
    found = rounded(exact, dtype, role)
    if dtype == np.float16 and np.any(lost := (exact != 0) & (np.abs(found) < np.finfo(np.float16).smallest_normal)):
        raise NoMatch(f"the {role} of channel {int(np.argmax(lost))} would lose digits in float16")
    return found


def _rewrite(edit: Edit, norm: Node, chain: Chain, scale: Float64, bias: Float64) -> None:
    set_constant(edit, norm, 1, scale, "scale")
    set_constant(edit, norm, 2, bias, "bias")
    if norm is not chain.nodes[0]:
        edit.replace_input(norm, 0, chain.data)
    if norm is not chain.nodes[-1]:
        result = chain.nodes[-1].outputs[0]
        chain.nodes[-1].outputs.clear()
        norm.outputs[0] = result
    _remove_others(edit, chain, norm)


def _insert(edit: Edit, chain: Chain, scale: Float64, bias: Float64) -> None:
    last = chain.nodes[-1]
    result = last.outputs[0]
    name = last.name or result.name
    last.outputs.clear()
    constants = [
        Constant(edit.fresh(f"{name}_{role}"), value)
        for role, value in (
            ("scale", scale),
            ("bias", bias),
            ("mean", np.zeros_like(bias)),
            ("variance", np.ones_like(bias)),
        )
    ]
    norm = Node("BatchNormalization", last.name, {"epsilon": 0.0}, [chain.data, *constants], [result])
    edit.insert_before(last, norm)
    _remove_others(edit, chain, norm)


def _remove_others(edit: Edit, chain: Chain, norm: Node) -> None:
    for node in reversed(chain.nodes):
        if node is not norm:
            remove(edit, node)
