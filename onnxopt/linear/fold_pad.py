"""A Pad before convolutions and pools becomes their own padding."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.known import known_value
from onnxopt.ir.node import Node
from onnxopt.linear.geometry import Geometry, Sizes, read_geometry, write_geometry
from onnxopt.linear.match import Gate, NoMatch, attribute, in_scope, is_given, label, remove, required_constant
from onnxopt.linear.sign import is_nonnegative

_READERS = ("Conv", "AveragePool", "MaxPool")
_COUNTS_PADDING_FROM = 7


@dataclass(frozen=True)
class Padding:
    """What a constant Pad adds round the spatial axes."""

    sizes: Sizes
    """At the begin of each spatial axis, then at the end of each."""
    value: float


def fold_pad(edit: Edit, scope: Graph, pad: Node, gate: Gate) -> int:
    """Fold a Pad, and those that it pads again, into all that read it; return how many Pads that saves.

    A Pad with several readers is folded where every one of them takes it, so that it goes.
    """
    folded = 0
    while pad.is_op("Pad"):
        padded = pad.outputs[0]
        readers = [reader for reader in dict.fromkeys(padded.outputs) if not edit.was_removed(reader)]
        if not readers or not any(reader.is_op(*_READERS) for reader in readers):
            break
        try:
            if edit.is_output(padded):
                raise NoMatch(f"'{padded.name}' is a graph output")
            changes = [_padded(edit, scope, pad, reader) for reader in readers]
        except NoMatch as no:
            near = next(reader for reader in readers if reader.is_op(*_READERS))
            gate.refuse(f"not folded into {label(near)}: {no}", pad)
            break
        if not gate.allow(f"fold Pad into {', '.join(map(label, readers))}", pad):
            break
        data = pad.inputs[0]
        for reader, geometry in zip(readers, changes, strict=True):
            _write(reader, geometry)
            edit.replace_input(reader, 0, data)
        remove(edit, pad)
        folded += 1
        if data.producer is None:
            break
        pad = data.producer
    return folded


def _padded(edit: Edit, scope: Graph, pad: Node, reader: Node) -> Geometry:
    """The geometry of a reader with the Pad taken in.

    Raises:
        NoMatch: It computes something else then.
    """
    padded = pad.outputs[0]
    if not reader.is_op(*_READERS):
        raise NoMatch(f"'{padded.name}' is read by {label(reader)} too")
    if [tensor is padded for tensor in reader.inputs].count(True) != 1 or reader.inputs[0] is not padded:
        raise NoMatch(f"{label(reader)} reads it as more than its data")
    if not (in_scope(edit, scope, reader) and in_scope(edit, scope, pad)):
        raise NoMatch(f"'{padded.name}' is computed outside the subgraph")
    if reader.is_op("Conv"):
        weight = required_constant(reader.inputs[1], "weight")
        padding = read_pad(pad, len(weight.shape), scope.opset)
        if padding.value != 0:
            raise NoMatch(f"it pads with {padding.value}, not with zero")
        return read_geometry(reader, weight.shape[2:]).padded(padding.sizes)
    kernel = attribute(reader, "kernel_shape", [])
    padding = read_pad(pad, len(kernel) + 2, scope.opset)
    old = read_geometry(reader, tuple(kernel))
    if attribute(reader, "ceil_mode", 0):
        raise NoMatch(f"{label(reader)} rounds up: windows beyond the padding would move")
    geometry = old.padded(padding.sizes)
    if reader.is_op("AveragePool"):
        _require_average(reader, old, padding, scope.opset)
    else:
        _require_maximum(pad, reader, geometry, padding)
    if any(size >= width for size, width in zip(geometry.pads, geometry.kernel * 2, strict=True)):
        raise NoMatch(f"{label(reader)} would have windows of padding alone, which runtimes refuse")
    return geometry


def _require_average(reader: Node, old: Geometry, padding: Padding, opset: int) -> None:
    """Zeros count as elements in a window of padded data; a pool's own padding does with `count_include_pad` alone."""
    if opset < _COUNTS_PADDING_FROM:
        raise NoMatch(f"AveragePool of opset {opset} does not count its padding")
    if padding.value != 0:
        raise NoMatch(f"it pads with {padding.value}, not with zero")
    if any(old.pads) and not attribute(reader, "count_include_pad", 0):
        raise NoMatch(f"{label(reader)} has padding of its own, which it does not count")


def _require_maximum(pad: Node, reader: Node, geometry: Geometry, padding: Padding) -> None:
    """A pool never takes the maximum of its padding: as if it were -inf, or zero beside data that are not negative."""
    if any(not output.is_empty() for output in reader.outputs[1:]):
        raise NoMatch(f"{label(reader)} gives out indices, which the Pad shifts")
    if set(geometry.dilations) != {1}:
        raise NoMatch(f"{label(reader)} is dilated: a window may hold padding alone")
    if padding.value == 0 and not is_nonnegative(pad.inputs[0]):
        raise NoMatch(f"it pads with zero, and '{pad.inputs[0].name}' may be negative")
    if padding.value not in (0, -math.inf):
        raise NoMatch(f"it pads with {padding.value}, not with zero or -inf")
    before = pad.inputs[0].producer
    if padding.value and before is not None and before.is_op("Pad"):  # merge-pads makes one of both where it can
        raise NoMatch(f"{label(before)} may pad with -inf too: of it and padding runtimes take the lowest number")


def _write(reader: Node, geometry: Geometry) -> None:
    write_geometry(reader, geometry)
    if reader.is_op("AveragePool") and any(geometry.pads):
        reader.attrs["count_include_pad"] = 1


def read_pad(node: Node, rank: int, opset: int) -> Padding:
    """What a Pad adds round each spatial axis (operator specification, Pad).

    Raises:
        NoMatch: It adds no constant, pads or crops another axis, or is not known before the model runs.
    """
    mode = attribute(node, "mode", "constant")
    if mode != "constant":
        raise NoMatch(f"its mode is {mode}")
    if opset < 11:
        value = attribute(node, "value", 0.0)
        pads = attribute(node, "pads" if opset >= 2 else "paddings", [])
    else:
        value = _known_numbers(node, 2, "value", [0])[0]
        pads = _known_numbers(node, 1, "pads", [])
    axes = _known_numbers(node, 3, "axes", range(rank)) if opset >= 18 else list(range(rank))
    if len(pads) != 2 * len(axes) or not all(-rank <= axis < rank for axis in axes):
        raise NoMatch(f"it has {len(pads)} pads for {len(axes)} axes")
    begins, ends = [0] * rank, [0] * rank
    for axis, begin, end in zip(axes, pads, pads[len(axes) :], strict=False):
        begins[axis], ends[axis] = int(begin), int(end)
    if any(begins[:2] + ends[:2]):
        raise NoMatch("it pads the batch or the channels")
    if min(begins + ends) < 0:
        raise NoMatch("it crops: a pad is negative")
    return Padding((*begins[2:], *ends[2:]), float(value))


def _known_numbers(node: Node, index: int, role: str, default: range | list[int]) -> list[int]:
    if not is_given(node, index):
        return list(default)
    value = known_value(node.inputs[index])
    if value is None:
        raise NoMatch(f"its {role} '{node.inputs[index].name}' are computed at run time: run fold-constants first")
    found: list[int] = value.reshape(-1).tolist()
    return found or list(default)
