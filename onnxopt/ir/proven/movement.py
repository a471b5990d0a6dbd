"""Rules of operators that arrange elements anew."""

from __future__ import annotations

from onnxopt.ir.node import Node
from onnxopt.ir.proven.dim import Dim
from onnxopt.ir.proven.extents import exact_quotient, floor_quotient, joined, product
from onnxopt.ir.proven.facts import Dims, Facts, Open, axes_in, axis_in, int_of, ints_of, unknown


def flatten(node: Node, facts: Facts) -> Open:
    """Flatten."""
    data, axis = facts.dims(node, 0), int_of(node, "axis", 1)
    if data is None or axis is None:
        return (None, None)
    axis += len(data) if axis < 0 else 0
    return (product(data[:axis]), product(data[axis:]))


def transpose(node: Node, facts: Facts) -> Open | None:
    """Transpose."""
    data, perm = facts.dims(node, 0), ints_of(node, "perm")
    if perm is None:
        return None if data is None or "perm" in node.attrs else data[::-1]
    if data is None or len(data) != len(perm):
        return unknown(len(perm))
    return tuple(data[axis] for axis in perm)


def reshape(node: Node, facts: Facts) -> Open | None:
    """Reshape: 0 copies a dimension, or with `allowzero` is one; -1 takes what is left."""
    target = facts.extents(node, 1, "shape")
    allow_zero = int_of(node, "allowzero", 0)
    if target is None or allow_zero is None:
        return None
    data = facts.dims(node, 0)
    found = [
        _reshaped(wanted, data[axis] if data is not None and axis < len(data) else None, facts, bool(allow_zero))
        for axis, wanted in enumerate(target)
    ]
    if data is not None and found.count(None) == 1:
        place = found.index(None)
        others = product(dim for dim in found if dim is not None)
        if target[place] == -1 or facts.may_be_taken_for(others, 1):
            found[place] = exact_quotient(product(data), others)
            if found[place] is None and target[place] == -1 and others != 0:
                found[place] = floor_quotient(product(data), others)
    return tuple(found)


def _reshaped(wanted: int | Dim | None, copied: int | Dim | None, facts: Facts, allow_zero: bool) -> int | Dim | None:
    """What an entry of the target makes; None where that is not certain."""
    if isinstance(wanted, int):
        return copied if wanted == 0 and not allow_zero else None if wanted < 0 else wanted
    if wanted is None or not facts.may_be_taken_for(wanted, 0):
        return None
    if allow_zero or facts.may_be_taken_for(wanted, 1) or wanted == copied:
        return wanted
    # It copies where it is 0, which is the same thing where the dimension to copy is 0 then too.
    if copied is None or len(wanted.terms) > 1:
        return None
    vanishes = all(exact_quotient(copied, Dim((((atom,), 1),))) is not None for atom in wanted.atoms)
    return wanted if vanishes else None


def concat(node: Node, facts: Facts) -> Open | None:
    """Concat."""
    axis = int_of(node, "axis", 1 if facts.opset < 4 else None)
    shapes = [facts.dims_of(tensor) for tensor in node.inputs]
    known = [dims for dims in shapes if dims is not None]
    if not known or axis is None or any(len(dims) != len(known[0]) for dims in known):
        return None
    axis = axis_in(axis, len(known[0]))
    if axis is None:
        return None
    found: list[int | Dim | None] = []
    for place, column in enumerate(zip(*known, strict=True)):
        if place != axis:  # all are equal
            found.append(next((dim for dim in column if isinstance(dim, int)), column[0]))
        elif len(known) < len(shapes):
            found.append(None)
        else:
            found.append(sum(column[1:], column[0]))
    return tuple(found)


def split(node: Node, facts: Facts) -> list[Open | None] | None:
    """Split, by given sizes or into equal parts, of which from opset 18 on the last may be smaller."""
    data, axis = facts.dims(node, 0), int_of(node, "axis", 0)
    if data is None or (axis := axis_in(axis, len(data))) is None:
        return None
    count = len(node.outputs)
    sizes: Open
    if "split" in node.attrs or facts.has(node, 1):
        sizes = facts.extents(node, 1, "split") or ()
    else:
        even = exact_quotient(data[axis], count)
        part = floor_quotient(data[axis] + (count - 1), count) if even is None else even
        if part is None or (even is None and "num_outputs" not in node.attrs):
            sizes = unknown(count)
        else:
            sizes = (*(part,) * (count - 1), data[axis] - (count - 1) * part)
    if len(sizes) != count:
        sizes = unknown(count)
    return [(*data[:axis], size if facts.at_least(size, 0) else None, *data[axis + 1 :]) for size in sizes]


def unsqueeze(node: Node, facts: Facts) -> Open | None:
    """Unsqueeze."""
    data, axes = facts.dims(node, 0), facts.ints(node, 1, "axes")
    if data is None or axes is None:
        return None
    rank = len(data) + len(axes)
    new, rest = {axis % rank for axis in axes}, iter(data)
    return tuple(1 if axis in new else next(rest, None) for axis in range(rank))


def squeeze(node: Node, facts: Facts) -> Dims | None:
    """Squeeze. Of an empty list of axes every runtime has its own opinion."""
    data, axes = facts.dims(node, 0), facts.ints(node, 1, "axes")
    if not data:
        return None
    if axes is None and "axes" not in node.attrs and not facts.has(node, 1):
        return tuple(dim for dim in data if dim != 1) if all(isinstance(dim, int) for dim in data) else None
    gone = axes_in(axes, len(data)) if axes else None
    return None if gone is None else tuple(dim for axis, dim in enumerate(data) if axis not in gone)


def expand(node: Node, facts: Facts) -> Open | None:
    """Expand."""
    data, target = facts.dims(node, 0), facts.extents(node, 1, "shape")
    if data is None or target is None:
        return None
    rank = max(len(data), len(target))
    wide = (1,) * (rank - len(data)) + data
    wanted = (1,) * (rank - len(target)) + target
    return tuple(_expanded(dim, size, facts) for dim, size in zip(wide, wanted, strict=True))


def _expanded(dim: int | Dim, wanted: int | Dim | None, facts: Facts) -> int | Dim | None:
    if wanted is None or not facts.at_least(wanted, 0):
        return dim if isinstance(dim, int) and dim != 1 else None
    return joined(dim, wanted)


def tile(node: Node, facts: Facts) -> Open | None:
    """Tile."""
    data, repeats = facts.dims(node, 0), facts.extents(node, 1, "repeats")
    if data is None or facts.opset < 6:  # Tile-1 takes a count and an axis
        return None
    if repeats is None or len(repeats) != len(data):
        return unknown(len(data))
    return tuple(None if times is None else dim * times for dim, times in zip(data, repeats, strict=True))


def pad(node: Node, facts: Facts) -> Open | None:
    """Pad; negative amounts take away."""
    data = facts.dims(node, 0)
    if data is None:
        return None
    amounts = facts.extents(node, 1, "paddings" if "paddings" in node.attrs else "pads")
    axes = list(range(len(data)))
    if facts.has(node, 3):
        given = facts.ints(node, 3, "axes")
        found = None if given is None else axes_in(given, len(data))
        if found is None:
            return unknown(len(data))
        axes = found
    if amounts is None or len(amounts) != 2 * len(axes):
        return unknown(len(data))
    dims: list[int | Dim | None] = list(data)
    for place, axis in enumerate(axes):
        before, after = amounts[place], amounts[place + len(axes)]
        dims[axis] = None if before is None or after is None else data[axis] + before + after
    return tuple(dims)
