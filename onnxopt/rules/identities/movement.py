"""Operators that move data and, the way they are given here, leave it where it is."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.ir import dtypes
from onnxopt.ir.known import known_value
from onnxopt.ir.proven import has, ints
from onnxopt.ir.purity import may_train
from onnxopt.rules.identities.facts import Facts, Rule, Verdict, kept_by, not_proven


def _identity(node: ir.Node, facts: Facts) -> Verdict:
    return 0


def _dropout(node: ir.Node, facts: Facts) -> Verdict:
    if any(output.name and facts.edit.is_used(output) for output in node.outputs[1:]):
        return "its mask is read"
    return "it may be training" if may_train(node, facts.opset) else 0


def _cast(node: ir.Node, facts: Facts) -> Verdict:
    to = node.attr("to")
    return _same_dtype(node, facts, dtypes.to_numpy(to) if isinstance(to, int) else None)


def _cast_like(node: ir.Node, facts: Facts) -> Verdict:
    return _same_dtype(node, facts, facts.dtype(node.inputs[1]))


def _same_dtype(node: ir.Node, facts: Facts, target: dtypes.DType | None) -> Verdict:
    source = facts.dtype(node.inputs[0])
    if source is None or target is None:
        unknown = node.inputs[0] if source is None else node.inputs[-1]
        return f"the element type of '{unknown.name}' is not known; infer-shapes may find it"
    return 0 if source == target else None


def _reshape(node: ir.Node, facts: Facts) -> Verdict:
    if _is_shape_of(node, 1, node.inputs[0]) or facts.keeps_shape(node):
        return 0
    target, shape = ints(node, 1, "shape"), facts.shapes.shape(node.inputs[0])
    if target is None:
        return None
    zero_copies = node.attr("allowzero", 0) == 0
    if shape is None:
        return not_proven(node)
    if len(shape) != len(target):
        return None
    open_dims = [(dim, wanted) for dim, wanted in zip(shape, target, strict=True) if wanted or not zero_copies]
    open_dims = [(dim, wanted) for dim, wanted in open_dims if dim is None or wanted != dim]
    if not open_dims or (len(open_dims) == 1 and open_dims[0][1] == -1):  # the rest is kept, so this one is
        return 0
    return not_proven(node) if any(dim is None for dim, _ in open_dims) else None


def _expand(node: ir.Node, facts: Facts) -> Verdict:
    if _is_shape_of(node, 1, node.inputs[0]) or facts.keeps_shape(node):
        return 0
    target = ints(node, 1, "shape")
    return None if target is None else kept_by(node, facts, 0, tuple(target))


def _transpose(node: ir.Node, facts: Facts) -> Verdict:
    perm = node.attr("perm")
    if perm is None:  # reverses the axes
        shape = facts.shapes.shape(node.inputs[0])
        return 0 if shape is not None and len(shape) < 2 else None
    return 0 if isinstance(perm, list) and perm == list(range(len(perm))) else None


def _pad(node: ir.Node, facts: Facts) -> Verdict:
    pads = ints(node, 1, "paddings" if "paddings" in node.attrs else "pads")
    if pads is None and len(node.inputs) > 1:
        items = facts.shapes.elements(node.inputs[1])
        return 0 if items is not None and all(item == 0 for item in items) else None
    return 0 if pads is not None and not any(pads) else None


_EVERYTHING = 2**31 - 1
"""From this end on, a slice is taken to reach the end of its axis: exporters write it, or 2**63 - 1, for "all"."""


def _slice(node: ir.Node, facts: Facts) -> Verdict:
    starts, ends = ints(node, 1, "starts"), ints(node, 2, "ends")
    steps = ints(node, 4, "steps") if has(node, 4, "steps") else []
    if steps is not None and all(step == 1 for step in steps) and facts.keeps_shape(node):
        return 0
    if starts is None or ends is None or steps is None or any(starts) or any(step != 1 for step in steps):
        return None
    axes = ints(node, 3, "axes") if has(node, 3, "axes") else list(range(len(starts)))
    for axis, end in zip(axes or [], ends, strict=False):
        if end < _EVERYTHING:
            shape = facts.shapes.shape(node.inputs[0])
            dim = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
            if dim is None or end < dim:
                return not_proven(node) if dim is None and end > 0 else None
    return 0 if axes is not None else None


def _one_input(node: ir.Node, facts: Facts) -> Verdict:
    return 0 if len(node.inputs) == 1 else None


def _split(node: ir.Node, facts: Facts) -> Verdict:
    return 0 if len(node.outputs) == 1 else None


def _tile(node: ir.Node, facts: Facts) -> Verdict:
    if facts.opset < 6:  # Tile-1 takes a count and an axis
        return None
    repeats = ints(node, 1, "repeats")
    if facts.keeps_shape(node):
        return 0
    return 0 if repeats is not None and all(count == 1 for count in repeats) else None


def _flatten(node: ir.Node, facts: Facts) -> Verdict:
    if facts.keeps_shape(node):
        return 0
    if node.attr("axis", 1) not in (1, -1):
        return None
    shape = facts.shapes.shape(node.inputs[0])
    return not_proven(node) if shape is None else 0 if len(shape) == 2 else None


def _unsqueeze(node: ir.Node, facts: Facts) -> Verdict:
    return 0 if ints(node, 1, "axes") == [] else None


def _squeeze(node: ir.Node, facts: Facts) -> Verdict:
    if has(node, 1, "axes") and ints(node, 1, "axes") != []:
        return None
    shape = facts.shapes.shape(node.inputs[0])
    if shape is not None and None not in shape and 1 not in shape:
        return 0
    # The specification squeezes nothing then, onnxruntime every axis of length 1.
    return "an empty list of axes means different things to different runtimes" if has(node, 1, "axes") else None


def _gather(node: ir.Node, facts: Facts) -> Verdict:
    axis, dims = node.attr("axis", 0), facts.shapes.dims(node.inputs[0])
    if dims is None or not isinstance(axis, int) or not -len(dims) <= axis < len(dims):
        return None
    indices = known_value(node.inputs[1])
    if indices is None or indices.ndim != 1 or dims[axis] != indices.size:
        return None
    return 0 if np.array_equal(indices % max(indices.size, 1), np.arange(indices.size)) else None


_EXACT_AT_SCALE_1 = (
    "align_corners", "asymmetric", "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "tf_half_pixel_for_nn",
)  # fmt: skip
"""Ways to map a coordinate of the output into the input that map each to itself where the sizes are the same
(operator specification of Resize); `tf_crop_and_resize` looks at a region of the input."""


def _resize(node: ir.Node, facts: Facts) -> Verdict:
    if node.attr("coordinate_transformation_mode", "half_pixel") not in _EXACT_AT_SCALE_1:
        return None
    scales = known_value(node.inputs[_SCALES_FROM_11 if facts.opset >= 11 else 1]) if _has_scales(node, facts) else None
    if scales is not None and scales.size:
        return 0 if np.all(scales == 1) else None
    if has(node, _SIZES, "sizes") and facts.opset >= 11:
        return 0 if facts.keeps_shape(node) else None
    return None


_SCALES_FROM_11, _SIZES = 2, 3


def _has_scales(node: ir.Node, facts: Facts) -> bool:
    return has(node, _SCALES_FROM_11 if facts.opset >= 11 else 1, "")


def _upsample(node: ir.Node, facts: Facts) -> Verdict:
    given = [node.attr(name) for name in ("scales", "height_scale", "width_scale") if name in node.attrs]
    if given and isinstance(given[0], list):
        given = given[0]
    value = known_value(node.inputs[1]) if not given and len(node.inputs) > 1 else None
    if value is not None:
        given = value.reshape(-1).tolist()
    return 0 if given and all(scale == 1 for scale in given) else None


def _is_shape_of(node: ir.Node, index: int, tensor: ir.Tensor) -> bool:
    """Whether an input is the output of `Shape(tensor)`, all of it."""
    producer: ir.Node | None = node.inputs[index].producer if index < len(node.inputs) else None
    if producer is None or not producer.is_op("Shape") or producer.attrs:
        return False
    return producer.inputs[0] is tensor


RULES: dict[str, Rule] = {
    "Identity": _identity,
    "Dropout": _dropout,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Reshape": _reshape,
    "Expand": _expand,
    "Transpose": _transpose,
    "Pad": _pad,
    "Slice": _slice,
    "Tile": _tile,
    "Concat": _one_input,
    "Sum": _one_input,
    "Mean": _one_input,
    "Max": _one_input,
    "Min": _one_input,
    "Split": _split,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Gather": _gather,
    "Resize": _resize,
    "Upsample": _upsample,
}
"""A rule may count on the number of inputs that the operator requires."""
