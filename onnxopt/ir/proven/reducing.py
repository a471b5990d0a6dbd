"""Rules of operators that reduce axes, pick along one, or make a tensor of a size that they are given."""

from __future__ import annotations

from onnxopt.ir.node import Node
from onnxopt.ir.proven.dim import Dim
from onnxopt.ir.proven.extents import floor_quotient
from onnxopt.ir.proven.facts import Dims, Facts, Open, axes_in, axis_in, int_of, ints_of, unknown
from onnxopt.ir.proven.slicing import larger_of
from onnxopt.ir.tensor import Constant


def reduce_(node: Node, facts: Facts) -> Open | None:
    """ReduceSum and its kin."""
    data, keep = facts.dims(node, 0), int_of(node, "keepdims", 1)
    if data is None or keep is None:
        return None
    given: tuple[int, ...] | None = ()
    if "axes" in node.attrs or facts.has(node, 1):
        given = facts.ints(node, 1, "axes")
    axes = None if given is None else axes_in(given, len(data))
    if axes is None:
        return unknown(len(data)) if keep else None
    if not axes:
        if int_of(node, "noop_with_empty_axes", 0) != 0:
            return data
        axes = list(range(len(data)))
    return _reduced(data, axes, keep)


def _reduced(data: Dims, axes: list[int], keep: int) -> Dims:
    return tuple(1 if axis in axes else dim for axis, dim in enumerate(data) if keep or axis not in axes)


def arg_reduce(node: Node, facts: Facts) -> Dims | None:
    """ArgMax and ArgMin."""
    data, keep, axis = facts.dims(node, 0), int_of(node, "keepdims", 1), int_of(node, "axis", 0)
    if data is None or keep is None or (axis := axis_in(axis, len(data))) is None:
        return None
    return _reduced(data, [axis], keep)


def top_k(node: Node, facts: Facts) -> list[Open | None]:
    """TopK: values and indices."""
    data, axis = facts.dims(node, 0), int_of(node, "axis", -1)
    if data is None or (axis := axis_in(axis, len(data))) is None:
        return [None, None]
    count = facts.extents(node, 1, "k")
    size = count[0] if count is not None and len(count) == 1 else None
    dims = (*data[:axis], size if facts.at_least(size, 0) else None, *data[axis + 1 :])
    return [dims, dims]


def one_hot(node: Node, facts: Facts) -> Open | None:
    """OneHot."""
    indices, axis = facts.dims(node, 0), int_of(node, "axis", -1)
    if indices is None or (axis := axis_in(axis, len(indices) + 1)) is None:
        return None
    depth = facts.extents(node, 1, "")
    size = depth[0] if depth is not None and len(depth) == 1 else None
    return (*indices[:axis], size if facts.at_least(size, 0) else None, *indices[axis:])


def non_zero(node: Node, facts: Facts) -> Open | None:
    """NonZero: a row for each axis."""
    data = facts.dims(node, 0)
    return (len(data), None) if data else None


def unique(node: Node, facts: Facts) -> list[Open | None]:
    """Unique: values, and three vectors."""
    data, axis = facts.dims(node, 0), node.attrs.get("axis")
    if axis is None:
        return [(None,)] * 4
    if data is None or not isinstance(axis, int) or (axis := axis_in(axis, len(data))) is None:
        return [None, (None,), (None,), (None,)]
    return [(*data[:axis], None, *data[axis + 1 :]), (None,), (None,), (None,)]


def non_max_suppression(node: Node, facts: Facts) -> Open:
    """NonMaxSuppression."""
    return (None, 3)


def shape(node: Node, facts: Facts) -> Open:
    """Shape."""
    data = facts.dims(node, 0)
    axes = None if data is None else shape_range(node, len(data))
    return (None if axes is None else len(axes),)


def shape_range(node: Node, rank: int) -> range | None:
    """The axes that a Shape node gives the dimensions of (`start` and `end` since opset 15)."""
    start, end = int_of(node, "start", 0), int_of(node, "end", rank)
    if start is None or end is None:
        return None
    return range(*slice(start, end).indices(rank))


def scalar(node: Node, facts: Facts) -> Dims:
    """A scalar: Size, Det of a matrix, SequenceLength."""
    return ()


def constant_of_shape(node: Node, facts: Facts) -> Open | None:
    """ConstantOfShape."""
    sizes = facts.extents(node, 0, "")
    return None if sizes is None else tuple(size if facts.at_least(size, 0) else None for size in sizes)


def range_(node: Node, facts: Facts) -> Open:
    """Range, of integers: ceil((limit - start) / delta), or nothing."""
    parts = [facts.items(node, index) for index in range(3)]
    found = [part[0] if part is not None and len(part) == 1 else None for part in parts]
    start, limit, delta = (item if isinstance(item, (int, Dim)) else None for item in found)
    if start is None or limit is None or not isinstance(delta, int) or delta == 0:
        return (None,)
    length = limit - start if delta > 0 else start - limit
    return (floor_quotient(larger_of(length, 0, facts) + (abs(delta) - 1), abs(delta)),)


def given_shape(node: Node, facts: Facts) -> Dims | None:
    """RandomNormal and RandomUniform."""
    shape = ints_of(node, "shape")
    return None if shape is None else tuple(shape)


def recurrent(node: Node, facts: Facts) -> list[Open | None]:
    """LSTM, GRU and RNN: all hidden states, the last ones, and the last cell states."""
    data, hidden, layout = facts.dims(node, 0), int_of(node, "hidden_size"), int_of(node, "layout", 0)
    direction = node.attrs.get("direction", "forward")
    if data is None or len(data) != 3 or layout is None or not isinstance(direction, str):
        return []
    recurrence = facts.dims(node, 2)
    size: int | Dim | None = recurrence[2] if hidden is None and recurrence and len(recurrence) == 3 else hidden
    directions = 2 if direction == "bidirectional" else 1
    if layout == 0:
        return [(data[0], directions, data[1], size), *[(directions, data[1], size)] * 2]
    return [(data[0], data[1], directions, size), *[(data[0], directions, size)] * 2]


def constant(node: Node, facts: Facts) -> Dims | None:
    """Constant."""
    value = node.attrs.get("value")
    if value is not None:
        return tuple(value.shape) if isinstance(value, Constant) else None
    for name in ("value_int", "value_float", "value_string"):
        if isinstance(node.attrs.get(name), (int, float, str, bytes)):
            return ()
    lists = (node.attrs.get(name) for name in ("value_ints", "value_floats", "value_strings"))
    return next(((len(given),) for given in lists if isinstance(given, list)), None)
