"""How many trips a Loop or Scan makes, and what its body reads and gives in each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.values import Array

_SCAN_HAD_BATCHES = 8
_NEGATIVE_AXES = 11


class Refused(Exception):
    """Why a loop is left alone."""


@dataclass(frozen=True)
class Slice:
    """One entry of a tensor along an axis, which goes."""

    of: ir.Tensor
    axis: int
    index: int


Value: TypeAlias = Callable[[int], Array | Slice]
"""What a body input is in a trip."""


@dataclass(frozen=True)
class Trips:
    """A loop of a known number of trips."""

    count: int
    body: ir.Graph
    states: list[ir.Tensor]
    """The first values of what is carried from trip to trip."""
    state_inputs: list[ir.Tensor]
    """The body's inputs for them."""
    per_trip: list[tuple[ir.Tensor, Value]]
    """The body's other inputs, and what each is in a trip."""
    body_outputs: list[ir.Tensor]
    """The next states, then the scan outputs."""
    outputs: list[tuple[int, bool]]
    """For each scan output the axis along which trips are put together, and whether the last trip comes first."""


def trips_of(node: ir.Node, scope: ir.Graph, shapes: ProvenShapes | None) -> Trips:
    """The trips of a Loop or Scan.

    Raises:
        Refused: Their number is not known, or it cannot be said in other nodes what the loop gives.
    """
    if any(not tensor.name for tensor in node.inputs[2 if node.op == "Loop" else 0 :]):
        raise Refused("an input is omitted")
    trips = _loop(node) if node.op == "Loop" else _scan(node, scope, shapes)
    outputs = node.outputs[len(trips.states) :]
    if trips.count == 0 and any(output.name for output in outputs):
        raise Refused("the scan outputs of no trip at all have a shape that nothing tells")
    return trips


def _loop(node: ir.Node) -> Trips:
    body = node.attr("body")
    if not isinstance(body, ir.Graph) or len(node.inputs) < 2:
        raise Refused("the body is not given here")
    states = list(node.inputs[2:])
    if len(body.inputs) != 2 + len(states) or len(body.outputs) <= len(states):
        raise Refused("the body takes or gives another number of values than the loop")
    number, condition = body.inputs[:2]
    return Trips(
        count=_loop_count(node, body),
        body=body,
        states=states,
        state_inputs=list(body.inputs[2:]),
        per_trip=[
            (number, lambda trip: _shaped(np.int64(trip), number)),
            (condition, lambda trip: _shaped(np.bool_(True), condition)),
        ],
        body_outputs=list(body.outputs[1:]),
        outputs=[(0, False)] * (len(body.outputs) - 1 - len(states)),
    )


def _shaped(value: np.generic, like: ir.Tensor) -> Array:
    """A scalar; a body may declare its first two inputs as of shape [1], and gets them so."""
    return np.full((1,) if like.shape is not None and len(like.shape) == 1 else (), value)


def _loop_count(node: ir.Node, body: ir.Graph) -> int:
    limit, starts = (_scalar(tensor) if tensor.name else None for tensor in node.inputs[:2])
    if node.inputs[0].name and limit is None and starts is not False:
        raise Refused("the trip count is not a constant")
    if node.inputs[1].name and starts is None:
        raise Refused("the condition to begin is not a constant")
    if starts is not None and not starts:
        return 0
    goes_on = _condition(body)
    if goes_on is None:
        raise Refused("the condition to go on is computed")
    if limit is None and goes_on:
        raise Refused("it never ends")
    count = max(0, int(limit)) if limit is not None else 1
    return count if goes_on else min(count, 1)


def _scalar(tensor: ir.Tensor) -> int | bool | None:
    value = known_value(tensor, limit=1)
    if value is None or value.size != 1 or value.dtype.kind not in "ib":
        return None
    found: int | bool = value.reshape(-1)[0].item()
    return found


def _condition(body: ir.Graph) -> bool | None:
    """Whether the body asks for another trip, given that it asked for this one; None where that is computed."""
    tensor = body.outputs[0]
    while tensor.producer is not None and tensor.producer.is_op("Identity"):
        tensor = tensor.producer.inputs[0]
    if tensor is body.inputs[1]:
        return True
    value = _scalar(tensor)
    return None if value is None else bool(value)


def _scan(node: ir.Node, scope: ir.Graph, shapes: ProvenShapes | None) -> Trips:
    body, scanned = node.attr("body"), node.attr("num_scan_inputs")
    if scope.opset <= _SCAN_HAD_BATCHES:
        raise Refused("Scan of opset 8 has batches")
    if not isinstance(body, ir.Graph) or not isinstance(scanned, int):
        raise Refused("the body is not given here")
    carried = len(node.inputs) - scanned
    if len(body.inputs) != len(node.inputs) or not 0 <= carried <= len(body.outputs):
        raise Refused("the body takes or gives another number of values than the scan")
    axes = _list(node, "scan_input_axes", scanned)
    reversed_ = _list(node, "scan_input_directions", scanned)
    count = len(body.outputs) - carried
    output_axes = _list(node, "scan_output_axes", count)
    if scope.opset < _NEGATIVE_AXES and any(axis < 0 for axis in (*axes, *output_axes)):
        raise Refused(f"an axis is counted from the end, which Gather and Concat do not take in opset {scope.opset}")
    lengths = [
        None if shapes is None or (shape := shapes.shape(tensor)) is None or not -len(shape) <= axis < len(shape)
        else shape[axis]
        for tensor, axis in zip(node.inputs[carried:], axes, strict=True)
    ]  # fmt: skip
    length = next((length for length in lengths if length is not None), None)
    if length is None:
        raise Refused("no length of what it scans is certain")

    def element(tensor: ir.Tensor, axis: int, reverse: bool) -> Value:
        return lambda trip: Slice(tensor, axis, length - 1 - trip if reverse else trip)

    return Trips(
        count=length,
        body=body,
        states=list(node.inputs[:carried]),
        state_inputs=list(body.inputs[:carried]),
        per_trip=[
            (inner, element(tensor, axis, bool(reverse)))
            for inner, tensor, axis, reverse in zip(
                body.inputs[carried:], node.inputs[carried:], axes, reversed_, strict=True
            )
        ],
        body_outputs=list(body.outputs),
        outputs=[
            (axis, bool(reverse))
            for axis, reverse in zip(output_axes, _list(node, "scan_output_directions", count), strict=True)
        ],
    )


def _list(node: ir.Node, name: str, length: int) -> list[int]:
    """Integers by input or output; 0 where they are not given."""
    found = node.attr(name, [0] * length)
    if not isinstance(found, list) or len(found) != length:
        raise Refused(f"{name} does not fit the number of inputs or outputs")
    return found
