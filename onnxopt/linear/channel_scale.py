"""Per-channel arithmetic that stands alone is a 1x1 depthwise convolution written otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.proven import lowest
from onnxopt.ir.tensor import Constant, Tensor
from onnxopt.linear.affine import ARITHMETIC
from onnxopt.linear.chain import Chain, compose, require_image, require_no_group_norm, steps_from
from onnxopt.linear.geometry import read_geometry
from onnxopt.linear.match import Gate, NoMatch, constant_of, label, remove, rounded
from onnxopt.linear.setting import Setting
from onnxopt.linear.spelled import ends_norm

_TYPES = {np.dtype(np.float16), np.dtype(np.float32)}
"""Runtimes have no Conv of doubles."""


def scale_as_depthwise(edit: Edit, scope: Graph, first: Node, gate: Gate, setting: Setting) -> bool:
    """Turn two or more affine operations in a row, beginning with `first`, into one 1x1 depthwise Conv.

    Return whether it did. One operation alone costs less as it is; and where a layer stands next to the chain, the
    chain belongs into that layer's weights.
    """
    steps = steps_from(edit, scope, first)
    if not steps or (len(steps) == 1 and first.is_op("BatchNormalization")):
        return False
    try:
        chain, _ = compose(steps, scope.opset, setting)
        require_image(chain)
        require_no_group_norm(chain)
        _require_pixels(chain, setting)
        if ends_norm(chain.nodes[0]):
            raise NoMatch("they end a normalization, which engines fuse as a whole")
        data, taken, affine = chain.data, chain.nodes, chain.affine
        _require_no_layer(edit, data, taken[-1])
        dtype = _dtype(data, taken)
        weight = rounded(affine.scale, dtype, "scale")
        bias = rounded(affine.shift, dtype, "shift")
    except NoMatch as no:
        gate.refuse(f"not made a 1x1 depthwise Conv: {no}", first)
        return False
    if not gate.allow(f"make {len(taken)} per-channel operations a 1x1 depthwise Conv", first):
        return False
    result = taken[-1].outputs[0]
    name = taken[0].name or result.name
    taken[-1].outputs.clear()
    constants = [
        Constant(edit.fresh(f"{name}_weight"), weight.reshape(-1, *[1] * (chain.rank - 1))),
        Constant(edit.fresh(f"{name}_bias"), bias),
    ]
    conv = Node("Conv", taken[0].name, {"group": len(bias)}, [data, *constants], [result])
    edit.insert_before(taken[0], conv)
    for node in reversed(taken):
        remove(edit, node)
    return True


def _require_pixels(chain: Chain, setting: Setting) -> None:
    """Refuse a sequence or an image that may be empty: arithmetic takes it, a Conv does not.

    Raises:
        NoMatch: One of its axes behind the channels may be 0.
    """
    dims = setting.shapes.dims(chain.data) or setting.shape(chain.data) or ()
    if not all(dim is not None and (lowest(dim) or 0) > 0 for dim in dims[2:]):
        raise NoMatch(f"'{chain.data.name}' may be empty, and a Conv takes no empty image: declare its size")


def _require_no_layer(edit: Edit, data: Tensor, last: Node) -> None:
    before = data.producer
    if before is not None and before.is_op("Conv", "ConvTranspose") and edit.sole_reader(data) is not None:
        raise NoMatch(f"{label(before)} before it can take it into its weights: run fuse-conv-bn")
    after = edit.sole_reader(last.outputs[0])
    if after is None or not after.is_op("Conv") or (weight := constant_of(after.inputs[1])) is None:
        return
    if not read_geometry(after, weight.shape[2:]).pads_data:
        raise NoMatch(f"{label(after)} after it can take it into its weights: run fuse-conv-bn")


def _dtype(data: Tensor, nodes: list[Node]) -> np.dtype[Any]:
    dtype = data.dtype
    for node in nodes:
        if dtype is None and node.is_op(*ARITHMETIC):  # a BatchNormalization may have parameters of another type
            dtype = next(tensor.dtype for tensor in map(constant_of, node.inputs) if tensor is not None)
    if dtype not in _TYPES:
        raise NoMatch(f"runtimes have no Conv of {dtype}")
    return np.dtype(dtype)
