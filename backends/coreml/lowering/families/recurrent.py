"""Layers with a state: LSTM and RNN by MIL's own operations, GRU and whatever these lack step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.encoders import stored
from onnxopt.backends.coreml.lowering.carriers import dimension, integers
from onnxopt.backends.coreml.lowering.families.cells import Cell, gru_cell, lstm_cell
from onnxopt.backends.coreml.lowering.numbers import float_operand
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Array, Site
from onnxopt.backends.coreml.lowering.values import as_mil

_STEPS = 64
"""Longer sequences are a loop."""
_TURNED = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
_RNN = {"Tanh": "tanh", "Relu": "relu", "Sigmoid": "sigmoid"}


@dataclass
class Layer:
    """What LSTM, GRU and RNN share; shapes are those of `layout` 0."""

    x: Any
    """[steps, batch, features]"""
    weight: Array
    """[directions, gates * hidden, features]"""
    recurrent: Array
    """[directions, gates * hidden, hidden]"""
    bias: Array
    """[directions, 2, gates * hidden]: of the input, of the state."""
    turned: list[bool]
    """For each direction, whether it runs from the end."""
    batch_first: bool
    activations: list[list[str]]

    @property
    def hidden(self) -> int:
        """How wide the state is."""
        return int(self.recurrent.shape[2])


def _layer(site: Site, gates: int, default: list[str]) -> Layer:
    direction = site.only("direction", "forward", "reverse", "bidirectional")
    turned = _TURNED[direction]
    batch_first = bool(site.attr("layout", 0))
    for name in ("clip", "activation_alpha", "activation_beta"):
        given = site.attr(name)
        site.require(not given, f"attribute {name}={given} cannot be said in MIL")
    x = float_operand(site, 0)
    site.require(len(x.shape) == 3, f"input 0 '{site.node.inputs[0].name}' is of rank {len(x.shape)}, not 3")
    if batch_first:
        x = mb.transpose(x=x, perm=[1, 0, 2])
    weight, recurrent = site.constant(1, "weight"), site.constant(2, "recurrent weight")
    hidden = int(recurrent.shape[2])
    site.require(site.attr("hidden_size", hidden) == hidden, f"attribute hidden_size is not {hidden}")
    bias: Array = np.zeros((len(turned), 2, gates * hidden), weight.dtype)
    if site.has(3):
        bias = site.constant(3, "bias").reshape(bias.shape)
    if site.has(4):
        lengths, steps = site.constant(4, "sequence_lens"), x.shape[0]
        site.require(bool((lengths == steps).all()), f"input sequence_lens={lengths.tolist()}: not all of the sequence")
    names = [str(name) for name in site.attr("activations") or default * len(turned)]
    count = len(default)
    activations = [names[at * count : (at + 1) * count] for at in range(len(turned))]
    return Layer(x, weight, recurrent, bias, turned, batch_first, activations)


def _state(site: Site, layer: Layer, index: int) -> list[Any]:
    """The first state of each direction, [batch, hidden]."""
    count = len(layer.turned)
    if not site.has(index):
        zero = types.nptype_from_builtin(layer.x.dtype)(0)
        shape = integers([dimension(layer.x, 1), layer.hidden])
        zeros = np.full(shape, zero) if isinstance(shape, np.ndarray) else mb.fill(shape=shape, value=zero)
        return [as_mil(zeros)] * count
    given = float_operand(site, index)
    axis = 1 if layer.batch_first else 0
    if count == 1:
        return [mb.squeeze(x=given, axes=[axis])]
    halves = mb.split(x=given, num_splits=count, axis=axis)
    return [mb.squeeze(x=half, axes=[axis]) for half in halves]


def _joined(site: Site, layer: Layer, sequences: list[Any], states: list[list[Any]]) -> list[Any]:
    """Y, [steps, directions, batch, hidden], and each final state, [directions, batch, hidden]."""
    axis = 2 if layer.batch_first else 1
    if layer.batch_first:
        sequences = [mb.transpose(x=each, perm=[1, 0, 2]) for each in sequences]
    found = [_stacked(sequences, axis, site.name)]
    return found + [_stacked(each, axis - 1, None) for each in states]


def _stacked(parts: list[Any], axis: int, name: str | None) -> Any:
    named = {"name": name} if name else {}
    if len(parts) == 1:
        return mb.expand_dims(x=parts[0], axes=[axis], **named)
    return mb.stack(values=parts, axis=axis, **named)


def _constant(site: Site, array: Array, what: str) -> Any:
    return stored(np.ascontiguousarray(array), site.values.fresh(f"{site.name}_{what}"), site.target)


@lowers("LSTM")
def lstm(site: Site) -> list[Any]:
    """Gates are in the order i o f c, in MIL i f o c. With peepholes or other activations, step by step."""
    default = ["Sigmoid", "Tanh", "Tanh"]
    layer = _layer(site, 4, default)
    hidden, coupled = layer.hidden, bool(site.attr("input_forget", 0))
    order = np.concatenate([np.arange(hidden) + gate * hidden for gate in (0, 2, 1, 3)])
    peepholes = _peepholes(site, len(layer.turned))
    first_h, first_c = _state(site, layer, 5), _state(site, layer, 6)
    found: list[list[Any]] = [[], [], []]
    for at, turned in enumerate(layer.turned):
        x = mb.reverse(x=layer.x, axes=[0]) if turned else layer.x
        weight, recurrent, bias = layer.weight[at], layer.recurrent[at], layer.bias[at].sum(0)
        if peepholes is None and not coupled and layer.activations[at] == default:
            outputs = mb.lstm(
                x=x,
                initial_h=first_h[at],
                initial_c=first_c[at],
                weight_ih=_constant(site, weight[order], "weight"),
                weight_hh=_constant(site, recurrent[order], "recurrent"),
                bias=_constant(site, bias[order], "bias"),
                output_sequence=True,
            )
        else:
            seen = peepholes[at] if peepholes is not None else None
            cell = lstm_cell(site, layer.activations[at], recurrent, seen, coupled)
            outputs = _steps(site, x, weight, bias, cell, [first_h[at], first_c[at]])
        _collect(found, outputs, turned)
    return _joined(site, layer, found[0], found[1:])


def _peepholes(site: Site, directions: int) -> list[list[Any]] | None:
    """Of each direction those of i, o and f, [hidden]: arrays, or Vars where they are computed."""
    if not site.has(7):
        return None
    given = site.value(7)
    if isinstance(given, np.ndarray):
        return [np.split(given[at], 3) for at in range(directions)]
    rows = [mb.gather(x=given, indices=np.int32(at), axis=0) for at in range(directions)]
    return [list(mb.split(x=row, num_splits=3, axis=0)) for row in rows]


@lowers("RNN")
def rnn(site: Site) -> list[Any]:
    """`mb.rnn`, for each direction."""
    layer = _layer(site, 1, ["Tanh"])
    first = _state(site, layer, 5)
    found: list[list[Any]] = [[], []]
    for at, turned in enumerate(layer.turned):
        name = layer.activations[at][0]
        site.require(name in _RNN, f"attribute activations={name!r} cannot be said in MIL")
        outputs = mb.rnn(
            x=mb.reverse(x=layer.x, axes=[0]) if turned else layer.x,
            initial_h=first[at],
            weight_ih=_constant(site, layer.weight[at], "weight"),
            weight_hh=_constant(site, layer.recurrent[at], "recurrent"),
            bias=_constant(site, layer.bias[at].sum(0), "bias"),
            output_sequence=True,
            activation=_RNN[name],
        )
        _collect(found, outputs, turned)
    return _joined(site, layer, found[0], found[1:])


@lowers("GRU")
def gru(site: Site) -> list[Any]:
    """Step by step: `mb.gru` has no bias upon the state's part of the hidden gate, within the reset."""
    layer = _layer(site, 3, ["Sigmoid", "Tanh"])
    after = bool(site.attr("linear_before_reset", 0))
    first, hidden = _state(site, layer, 5), layer.hidden
    found: list[list[Any]] = [[], []]
    for at, turned in enumerate(layer.turned):
        x = mb.reverse(x=layer.x, axes=[0]) if turned else layer.x
        of_input, of_state = layer.bias[at].copy()
        inside = of_state[2 * hidden :].copy()
        of_state[2 * hidden :] = 0 if after else inside
        cell = gru_cell(site, layer.activations[at], layer.recurrent[at], inside if after else None)
        outputs = _steps(site, x, layer.weight[at], of_input + of_state, cell, [first[at]])
        _collect(found, outputs, turned)
    return _joined(site, layer, found[0], found[1:])


def _collect(found: list[list[Any]], outputs: Any, turned: bool) -> None:
    sequence, *states = outputs
    found[0].append(mb.reverse(x=sequence, axes=[0]) if turned else sequence)
    for place, state in zip(found[1:], states, strict=True):
        place.append(state)


def _steps(site: Site, x: Any, weight: Array, bias: Array, cell: Cell, state: list[Any]) -> list[Any]:
    """One step after the other; what the input adds to the gates is one product for all of them.

    Returns:
        The sequence [steps, batch, hidden], then each final state.
    """
    kernel, added = _constant(site, weight, "weight"), _constant(site, bias, "bias")
    gates = mb.linear(x=x, weight=kernel, bias=added)
    steps = x.shape[0]
    if not isinstance(steps, (int, np.integer)) or steps > _STEPS:
        return _looped(gates, cell, state)
    moments = [gates] if steps == 1 else mb.split(x=gates, num_splits=int(steps), axis=0)
    hidden = []
    for moment in moments:
        state = cell(mb.squeeze(x=moment, axes=[0]), state)
        hidden.append(state[0])
    return [mb.stack(values=hidden, axis=0), *state]


def _looped(gates: Any, cell: Cell, state: list[Any]) -> list[Any]:
    """A loop that puts each state at its place in the sequence."""
    zero = types.nptype_from_builtin(gates.dtype)(0)
    shape = integers([dimension(gates, 0), dimension(gates, 1), int(state[0].shape[1])])
    sequence = np.full(shape, zero) if isinstance(shape, np.ndarray) else mb.fill(shape=shape, value=zero)
    steps = dimension(gates, 0)
    limit = np.int32(steps) if isinstance(steps, int) else mb.squeeze(x=steps, axes=[0])

    def goes_on(step: Any, *_: Any) -> Any:
        return mb.less(x=step, y=limit)

    def once(step: Any, done: Any, *before: Any) -> list[Any]:
        after = cell(mb.gather(x=gates, indices=step, axis=0), list(before))
        place = mb.expand_dims(x=step, axes=[0])
        done = mb.scatter(data=done, indices=place, updates=mb.expand_dims(x=after[0], axes=[0]), axis=0, mode="update")
        return [mb.add(x=step, y=np.int32(1)), done, *after]

    first = (mb.const(val=np.int32(0)), as_mil(sequence), *state)
    return list(mb.while_loop(_cond=goes_on, _body=once, loop_vars=first))[1:]
