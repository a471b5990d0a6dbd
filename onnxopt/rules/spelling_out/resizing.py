"""Resize as what it is: along each axis a choice of elements, or a matrix.

Every mode works axis by axis and is linear in the elements. What the matrix is, the Resize of the identity in
onnxruntime tells, so that no coordinate rule is written here a second time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.ir.values import Array
from onnxopt.rules.spelling_out.site import Result, Site
from onnxopt.runtime.session import NotRunnable, Session

Attributes: TypeAlias = "tuple[tuple[str, Any], ...]"
_MOST_ELEMENTS = 1 << 22
"""Of the matrix of one axis."""


@dataclass(frozen=True)
class Axis:
    """How one axis is resized."""

    axis: int
    size: int
    scale: float | None
    wanted: int | None
    """The size asked for; else the scale is given."""
    region: tuple[float, float] | None

    @property
    def outputs(self) -> int:
        """The size that it gets."""
        return self.wanted if self.wanted is not None else int(self.size * (self.scale or 0))

    @property
    def is_kept(self) -> bool:
        """Whether it stays as it is."""
        return (self.scale == 1 or self.wanted == self.size) and self.region in (None, (0.0, 1.0))

    @property
    def is_exact(self) -> bool:
        """Whether its scale is the quotient of the sizes."""
        return self.scale is None or self.outputs == self.size * self.scale


def axes_of(site: Site) -> list[Axis]:
    """The axes that a Resize changes, or may change."""
    shape = site.shape()
    rank = len(shape)
    axes = [axis % rank for axis in site.attr("axes", list(range(rank)))]
    is_old = site.opset < 11
    sizes = site.ints(3, "") if not is_old and site.given(3) else None
    scales = None if sizes is not None else _floats(site, 1 if is_old else 2)
    region = _floats(site, 1) if site.attr("coordinate_transformation_mode") == "tf_crop_and_resize" else None
    given = sizes if sizes is not None else scales
    if given is None or len(given) != len(axes) or (region is not None and len(region) != 2 * len(axes)):
        raise NoMatch("its sizes or scales are not one for each axis")
    policy = site.attr("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch" and sizes is not None:
        sizes = _in_proportion(sizes, [shape[axis] for axis in axes], policy)
    return [
        Axis(
            axis,
            shape[axis],
            None if scales is None else float(scales[index]),
            None if sizes is None else sizes[index],
            None if region is None else (float(region[index]), float(region[index + len(axes)])),
        )
        for index, axis in enumerate(axes)
    ]


def _in_proportion(sizes: list[int], own: list[int], policy: str) -> list[int]:
    """One scale for all axes: the least or largest that the sizes ask for (specification of Resize)."""
    scales = [Fraction(size, one) for size, one in zip(sizes, own, strict=True)]
    found = [(min(scales) if policy == "not_larger" else max(scales)) * one for one in own]
    for size, one in zip(found, own, strict=True):
        if size.denominator != 1:  # it is rounded, and the coordinates go by the scale all the same
            raise NoMatch(f"keeping the aspect ratio makes {float(size):g} of {one} elements")
    return [size.numerator for size in found]


def _floats(site: Site, index: int) -> list[float] | None:
    return [float(number) for number in site.value(index).reshape(-1)] if site.given(index) else None


def resize(site: Site) -> Result:
    """A Gather along each axis for the nearest element, and else a MatMul."""
    dtype, rank = site.float_type(), site.rank()
    attributes = attributes_of(site)
    found: Tensor | Node = site[0]
    for axis in axes_of(site):
        if axis.is_kept:
            continue
        if not axis.size:
            raise NoMatch(f"axis {axis.axis} is empty")
        matrix, offset = _matrix(axis, attributes, site.opset)
        found = _applied(site, found, axis.axis, rank, matrix.astype(dtype), offset.astype(dtype))
    return found


def attributes_of(site: Site) -> Attributes:
    """Those that say how an axis is resized."""
    skipped = ("axes", "keep_aspect_ratio_policy")
    return tuple((name, site.attr(name)) for name in site.node.attrs if name not in skipped)


def same_choice(axis: Axis, attributes: Attributes, opset: int, *, sizes_only: bool = False, **changed: str) -> bool:
    """Whether the nearest elements of an axis are the same with other attributes, or with the sizes as scale."""
    row = np.arange(axis.size, dtype=np.float32)[None]
    other = replace(axis, scale=None, wanted=axis.outputs) if sizes_only else axis
    others = tuple({**dict(attributes), **changed}.items())
    return np.array_equal(_resized(row, axis, attributes, opset), _resized(row, other, others, opset))


@lru_cache(maxsize=64)
def _matrix(axis: Axis, attributes: Attributes, opset: int) -> tuple[Array, Array]:
    """What [outputs, inputs] matrix resizing an axis is, and what it adds for elements outside of the region."""
    if axis.size * axis.outputs > _MOST_ELEMENTS:
        raise NoMatch(f"the matrix of {axis.size} x {axis.outputs} numbers is too large")
    first = np.zeros((1, axis.size), np.float32)
    offset = _resized(first, axis, attributes, opset)[0]
    return (_resized(np.eye(axis.size, dtype=np.float32), axis, attributes, opset) - offset).T, offset


def _resized(rows: Array, axis: Axis, attributes: Attributes, opset: int) -> Array:
    """Each row resized, by onnxruntime."""
    names, constants = ["x"], []

    def constant(name: str, value: Array | None) -> None:
        names.append(name if value is not None else "")
        if value is not None:
            constants.append(numpy_helper.from_array(value, name))

    if opset >= 11:
        start, end = axis.region or (0.0, 1.0)
        constant("roi", np.array([0, start, 1, end], np.float32))
    if axis.wanted is None:
        constant("scales", np.array([1, axis.scale], np.float32))
    else:
        constant("scales", None if opset >= 13 else np.array([], np.float32))
        constant("sizes", np.array([len(rows), axis.wanted], np.int64))
    node = helper.make_node("Resize", names, ["y"], **dict(attributes))
    x, y = (
        helper.make_tensor_value_info(*each) for each in (("x", TensorProto.FLOAT, rows.shape), ("y", 1, [None, None]))
    )
    graph = helper.make_graph([node], "axis", [x], [y], constants)
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports))
    try:
        found = Session(model).run({"x": rows})["y"]
    except NotRunnable as error:
        raise NoMatch(f"onnxruntime does not resize one axis so: {error}") from error
    return np.asarray(found)


def _applied(site: Site, x: Tensor | Node, axis: int, rank: int, matrix: Array, offset: Array) -> Node:
    op = site.op
    chosen = matrix.argmax(axis=1)
    if not offset.any() and np.array_equal(matrix, np.eye(matrix.shape[1], dtype=matrix.dtype)[chosen]):
        return op.Gather(x, chosen.astype(np.int64), axis=axis)
    order = list(range(rank))
    if axis < rank - 2:
        order[axis], order[-1] = order[-1], order[axis]
    moved = x if axis >= rank - 2 else op.Transpose(x, perm=order)
    on_left = axis == rank - 2
    product = op.MatMul(matrix, moved) if on_left else op.MatMul(moved, np.ascontiguousarray(matrix.T))
    if offset.any():
        product = op.Add(product, offset[:, None] if on_left else offset)
    return product if axis >= rank - 2 else op.Transpose(product, perm=order)
