"""Subgraphs: branches by `mb.cond`, loops and scans spelled out, loops of unknown length by `mb.while_loop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt import ir
from onnxopt.backends.coreml.lowering.carriers import reshaped
from onnxopt.backends.coreml.lowering.families.indexing import gathered
from onnxopt.backends.coreml.lowering.nodes import lower_nodes
from onnxopt.backends.coreml.lowering.registry import Refused, RefusedInside, lowers
from onnxopt.backends.coreml.lowering.site import Site
from onnxopt.backends.coreml.lowering.values import Value, Values, as_mil
from onnxopt.pipeline.backend import Problem

_TURNS = 64
"""Loops of so many turns at most are spelled out."""


@lowers("If")
def if_(site: Site) -> list[Value]:
    """A condition that is known leaves one branch, which is lowered in place."""
    branches = [site.attr("then_branch"), site.attr("else_branch")]
    condition = site.value(0)
    if isinstance(condition, np.ndarray):
        return _lowered(branches[0 if condition.reshape(-1)[0] else 1], site.values)
    predicate = mb.identity(x=condition) if not condition.shape else reshaped(condition, [])
    built: list[list[Any]] = []
    taken, otherwise = (_branch(site, branch, built) for branch in branches)
    found = mb.cond(pred=predicate, _true_fn=taken, _false_fn=otherwise)
    return list(found) if isinstance(found, (tuple, list)) else [found]


def _alike(one: tuple[Any, ...], two: tuple[Any, ...]) -> bool:
    fixed = [(a, b) for a, b in zip(one, two, strict=False) if isinstance(a, int) and isinstance(b, int)]
    return len(one) == len(two) and all(a == b for a, b in fixed)


def _lowered(graph: ir.Graph, values: Values) -> list[Value]:
    """The outputs of a subgraph, whose nodes become operations of the block that is open.

    Raises:
        RefusedInside: Nodes of it are refused.
    """
    problems: list[Problem] = []
    lower_nodes(graph, values, problems)
    if problems:
        raise RefusedInside(problems)
    return [values.of(tensor) for tensor in graph.outputs]


def _branch(site: Site, graph: ir.Graph, built: list[list[Any]]) -> Callable[[], list[Any]]:
    """What builds the block of a branch; the second one has to give what the first one gave."""

    def build() -> list[Any]:
        with site.values.scope():
            made = [_made_here(value) for value in _lowered(graph, site.values)]
        for tensor, one, two in zip(site.node.outputs, built[0] if built else made, made, strict=True):
            alike = _alike(one.shape, two.shape) and one.dtype == two.dtype
            shapes = f"{list(one.shape)} and {list(two.shape)}, {one.dtype.__name__} and {two.dtype.__name__}"
            site.require(alike, f"its branches give '{tensor.name}' as {shapes}")
        built.append(made)
        return made

    return build


def _made_here(value: Value) -> Any:
    """An output of a block has to be an operation of that block; integers are of 32 bits."""
    if isinstance(value, np.ndarray):
        if not value.size:
            raise Refused("a subgraph gives an empty tensor; Core ML has none")
        value = mb.const(val=(value.astype(np.int32) if value.dtype.kind in "iu" else value)[()])
    return mb.identity(x=value)


@lowers("Loop")
def loop(site: Site) -> list[Value]:
    """Turns that are known and few are spelled out; else `mb.while_loop`, whose results have fixed shapes."""
    body = site.attr("body")
    turns = site.value(0) if site.has(0) else None
    going = site.value(1) if site.has(1) else np.array(True)
    carried = [site.value(index) for index in range(2, len(site))]
    if isinstance(turns, np.ndarray) and isinstance(going, np.ndarray) and turns.reshape(-1)[0] <= _TURNS:
        found = _spelled_out(site, body, int(turns.reshape(-1)[0]), bool(going.reshape(-1)[0]), carried)
        if found is not None:
            return found
    scans = len(body.outputs) - 1 - len(carried)
    site.require(scans == 0, "the number of its turns is not known and few: its scan outputs have no fixed shape")
    site.require(turns is not None or site.has(1), "neither a trip count nor a condition ends it")
    return _while(site, body, turns, going, carried)


def _spelled_out(site: Site, body: ir.Graph, turns: int, going: bool, carried: list[Value]) -> list[Value] | None:
    """Every turn after the other; None where a turn computes whether there is another."""
    rows: list[list[Value]] = []
    count = len(carried)
    for turn in range(turns):
        if not going:
            break
        with site.values.scope(nested=False):
            for tensor, value in zip(body.inputs, [np.array(turn, np.int32), np.array(True), *carried], strict=True):
                site.values.set(tensor, value)
            condition, *outputs = _lowered(body, site.values)
        if not isinstance(condition, np.ndarray):
            return None
        going, carried = bool(condition.reshape(-1)[0]), outputs[:count]
        rows.append(outputs[count:])
    if len(body.outputs) - 1 > count:
        site.require(bool(rows), "it turns not once, and its scan outputs are empty; Core ML has no empty tensors")
    return carried + [_stacked(list(column)) for column in zip(*rows, strict=True)]


def _stacked(column: list[Value], axis: int = 0) -> Value:
    if all(isinstance(each, np.ndarray) for each in column):
        return np.stack(column, axis)
    return mb.stack(values=[_made_here(each) for each in column], axis=axis)


def _while(site: Site, body: ir.Graph, turns: Value | None, going: Value, carried: list[Value]) -> list[Value]:
    values = site.values
    limit = None if turns is None else reshaped(as_mil(turns), [])
    first = [np.array(0, np.int32), going, *carried]
    variables = [_made_here(value) for value in first]
    variables[1] = reshaped(variables[1], [])

    def goes_on(turn: Any, condition: Any, *_: Any) -> Any:
        going_on = mb.identity(x=condition)
        return going_on if limit is None else mb.logical_and(x=going_on, y=mb.less(x=turn, y=limit))

    def once(turn: Any, condition: Any, *states: Any) -> list[Any]:
        with values.scope():
            for tensor, var in zip(body.inputs, [turn, condition, *states], strict=True):
                values.set(tensor, var)
            again, *outputs = [_made_here(value) for value in _lowered(body, values)]
            return [mb.add(x=turn, y=np.int32(1)), reshaped(again, []), *outputs]

    found = mb.while_loop(_cond=goes_on, _body=once, loop_vars=tuple(variables))
    for tensor, before, after in zip(site.node.outputs, variables[2:], found[2:], strict=True):
        name, shapes = tensor.name, f"{list(before.shape)} and {list(after.shape)}"
        site.require(tuple(before.shape) == tuple(after.shape), f"the shape of '{name}' changes as it loops: {shapes}")
    return list(found[2:])


@lowers("Scan")
def scan(site: Site) -> list[Value]:
    """Spelled out, step by step: MIL has no such operation."""
    site.require(site.opset >= 9, "before opset 9 it has a batch of its own; run convert-opset before")
    body, count = site.attr("body"), int(site.attr("num_scan_inputs"))
    split = len(site) - count
    states = [site.value(index) for index in range(split)]
    outputs = len(body.outputs) - split
    axes = _listed(site, "scan_input_axes", count)
    turned = _listed(site, "scan_input_directions", count)
    lengths = {site.sizes(split + at)[axis] for at, axis in enumerate(axes)}
    steps = lengths.pop()
    site.require(not lengths and steps <= _TURNS, f"sequences of {steps} steps are not spelled out; up to {_TURNS} are")
    rows: list[list[Value]] = []
    for step in range(steps):
        given = list(states)
        for at, axis in enumerate(axes):
            given.append(_element(site.value(split + at), steps - 1 - step if turned[at] else step, axis))
        with site.values.scope(nested=False):
            for tensor, value in zip(body.inputs, given, strict=True):
                site.values.set(tensor, value)
            found = _lowered(body, site.values)
        states = found[:split]
        rows.append(found[split:])
    collected = []
    places, backwards = _listed(site, "scan_output_axes", outputs), _listed(site, "scan_output_directions", outputs)
    for column, axis, back in zip(zip(*rows, strict=True), places, backwards, strict=True):
        collected.append(_stacked(list(column)[::-1] if back else list(column), axis))
    return states + collected


def _listed(site: Site, name: str, count: int) -> list[int]:
    return [int(each) for each in site.attr(name) or [0] * count]


def _element(value: Value, at: int, axis: int) -> Value:
    """One step of a sequence."""
    return np.take(value, at, axis) if isinstance(value, np.ndarray) else gathered(value, np.int32(at), axis, None)
