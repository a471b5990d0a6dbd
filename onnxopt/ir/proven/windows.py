"""Rules of operators that slide a window: convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence

from onnxopt.ir.node import Node
from onnxopt.ir.proven.dim import lowest
from onnxopt.ir.proven.extents import exact_quotient, floor_quotient, product, trunc_quotient
from onnxopt.ir.proven.facts import Dims, Facts, Open, int_of, ints_of, unknown


def conv(node: Node, facts: Facts) -> Open | None:
    """Conv and ConvInteger."""
    return _conv(node, facts.dims(node, 0), facts.dims(node, 1))


def qlinear_conv(node: Node, facts: Facts) -> Open | None:
    """QLinearConv."""
    return _conv(node, facts.dims(node, 0), facts.dims(node, 3))


def _conv(node: Node, data: Dims | None, weight: Dims | None) -> Open | None:
    if data is None or weight is None or len(data) != len(weight) or len(data) < 3:
        return None
    return (data[0], weight[0], *_windows(node, data[2:], weight[2:], floor=True, nonempty=False))


def pool(node: Node, facts: Facts) -> Open | None:
    """AveragePool, LpPool, MaxPool."""
    data, kernel = facts.dims(node, 0), ints_of(node, "kernel_shape")
    if data is None or len(data) < 3:
        return None
    return (*data[:2], *_windows(node, data[2:], kernel or (), floor=False, nonempty=facts.nonempty))


def max_pool(node: Node, facts: Facts) -> list[Open | None]:
    """MaxPool: the maxima and their indices."""
    found = pool(node, facts)
    return [found, found if found is None or None not in found else unknown(len(found))]


def _windows(node: Node, dims: Dims, kernel: Sequence[int | object], *, floor: bool, nonempty: bool) -> Open:
    """Output positions of a sliding window (operator specification of Conv and MaxPool).

    An input smaller than the window is an error of Conv. Of a pool it makes no position, or in onnxruntime, which
    rounds towards 0, one.
    """
    rank = len(dims)
    strides, dilations = node.attrs.get("strides", [1] * rank), node.attrs.get("dilations", [1] * rank)
    pads, auto = node.attrs.get("pads", [0] * 2 * rank), node.attrs.get("auto_pad", "NOTSET")
    if not all(isinstance(value, list) for value in (strides, dilations, pads)) or int_of(node, "ceil_mode", 0) != 0:
        return unknown(rank)
    if (len(kernel), len(strides), len(dilations), len(pads)) != (rank, rank, rank, 2 * rank) or 0 in strides:
        return unknown(rank)
    if auto in ("SAME_UPPER", "SAME_LOWER") and set(dilations) == {1}:
        return tuple(floor_quotient(dim + stride - 1, stride) for dim, stride in zip(dims, strides, strict=True))
    if auto == "VALID":
        pads = [0] * 2 * rank
    elif auto != "NOTSET":
        return unknown(rank)
    found: list[object] = []
    for axis, (dim, size) in enumerate(zip(dims, kernel, strict=True)):
        if not isinstance(size, int):
            found.append(None)
            continue
        span = dim + pads[axis] + pads[axis + rank] - dilations[axis] * (size - 1) - 1
        low = lowest(span)
        if not floor and low is not None and isinstance(span, int) and low < 0:
            found.append(None)
            continue
        stride = strides[axis]
        steps = floor_quotient(span, stride) if floor else trunc_quotient(span, stride, nonempty)
        found.append(None if steps is None else steps + 1)
    return tuple(found)  # type: ignore[arg-type]


def global_pool(node: Node, facts: Facts) -> Dims | None:
    """GlobalAveragePool, GlobalLpPool, GlobalMaxPool."""
    data = facts.dims(node, 0)
    return None if data is None or len(data) < 2 else (*data[:2], *[1] * (len(data) - 2))


def conv_transpose(node: Node, facts: Facts) -> Open | None:
    """ConvTranspose with explicit padding (operator specification)."""
    data, weight, group = facts.dims(node, 0), facts.dims(node, 1), int_of(node, "group", 1)
    if data is None or weight is None or len(data) != len(weight) or len(data) < 3:
        return None
    rank = len(data) - 2
    channels = None if group is None else weight[1] * group
    names = {"strides": 1, "dilations": 1, "output_padding": 0}
    given = [node.attrs.get(name, [default] * rank) for name, default in names.items()]
    pads, auto = node.attrs.get("pads", [0] * 2 * rank), node.attrs.get("auto_pad", "NOTSET")
    plain = all(isinstance(value, list) and len(value) == rank for value in given) and isinstance(pads, list)
    if not plain or len(pads) != 2 * rank or auto != "NOTSET" or "output_shape" in node.attrs:
        return (data[0], channels, *unknown(rank))
    sizes = (
        stride * (dim - 1) + extra + dilation * (size - 1) + 1 - pads[axis] - pads[axis + rank]
        for axis, (dim, size, stride, dilation, extra) in enumerate(zip(data[2:], weight[2:], *given, strict=True))
    )
    return (data[0], channels, *sizes)


def depth_to_space(node: Node, facts: Facts) -> Open | None:
    """DepthToSpace."""
    data, block = facts.dims(node, 0), int_of(node, "blocksize")
    if data is None or len(data) != 4 or not block:
        return None
    return (data[0], exact_quotient(data[1], block * block), data[2] * block, data[3] * block)


def space_to_depth(node: Node, facts: Facts) -> Open | None:
    """SpaceToDepth."""
    data, block = facts.dims(node, 0), int_of(node, "blocksize")
    if data is None or len(data) != 4 or not block:
        return None
    return (data[0], product((data[1], block * block)), *(floor_quotient(dim, block) for dim in data[2:]))
