"""`lstm` and `rnn`: coremltools/converters/mil/mil/ops/defs/iOS15/recurrent.py.

`gru` is not there: its documentation says at once that the reset gate multiplies the product with the recurrent weights
(r_t * W_ho h_(t-1)) and, for iOS 18, that this is the exception (`reset_after`, False by default).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxopt.backends.coreml.evaluator.registry import Array, Call, evaluates


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
}
"""Of the hard sigmoid and the scaled tanh the documentation does not tell the constants."""


def _activation(call: Call, name: str, default: str) -> Callable[[Array], Array]:
    kind = str(call.scalar(name, default)).lower()
    if kind not in _ACTIVATIONS:
        raise call.refuse(f"{name} is {kind!r}, of which the documentation does not tell the constants")
    return _ACTIVATIONS[kind]


@evaluates("rnn")
def _rnn(call: Call) -> list[Array]:
    """h_t = activation(W_ih x_t + W_hh h_(t-1) + b)."""
    x, state = call.wide("x"), call.wide("initial_h")
    activation = _activation(call, "activation", "tanh")
    bias = call.optional("bias")
    given = x @ call.wide("weight_ih").T + (0 if bias is None else bias)
    weight = call.wide("weight_hh").T
    backwards = call.scalar("direction", "forward") == "reverse"
    found = []
    for step in given[::-1] if backwards else given:
        state = activation(step + state @ weight)
        found.append(state)
    return [_sequence(call, found, backwards), state]


@evaluates("lstm")
def _lstm(call: Call) -> list[Array]:
    direction = call.scalar("direction", "forward")
    hidden, cell = call.wide("initial_h"), call.wide("initial_c")
    if direction != "bidirectional":
        return _lstm_one_way(call, "", direction == "reverse", hidden, cell)
    half = hidden.shape[1] // 2
    there = _lstm_one_way(call, "", False, hidden[:, :half], cell[:, :half])
    back = _lstm_one_way(call, "_back", True, hidden[:, half:], cell[:, half:])
    return [np.concatenate(pair, -1) for pair in zip(there, back, strict=True)]


def _lstm_one_way(call: Call, suffix: str, backwards: bool, hidden: Array, cell: Array) -> list[Array]:
    """Gates in the order input, forget, output, cell.

    Peepholes are documented by their order alone: input and forget gate see the cell before, the output gate the new
    one (Gers and Schmidhuber, 2000), as in every library that has them. `clip` bounds the cell gate.
    """
    x, bias = call.wide("x"), call.optional("bias" + suffix)
    gates = _activation(call, "recurrent_activation", "sigmoid")
    candidate = _activation(call, "cell_activation", "tanh")
    activation = _activation(call, "activation", "tanh")
    given = x @ call.wide("weight_ih" + suffix).T + (0 if bias is None else bias)
    weight = call.wide("weight_hh" + suffix).T
    name = "peephole" + suffix
    see_input, see_forget, see_output = np.split(call.wide(name), 3) if call.has(name) else (0, 0, 0)
    if call.has("clip"):
        raise call.refuse("it has clip, of which the documentation does not say whether before or after activation")
    found = []
    for step in given[::-1] if backwards else given:
        i, f, o, z = np.split(step + hidden @ weight, 4, -1)
        before = cell
        cell = gates(f + see_forget * before) * before + gates(i + see_input * before) * candidate(z)
        hidden = gates(o + see_output * cell) * activation(cell)
        found.append(hidden)
    return [_sequence(call, found, backwards), hidden, cell]


def _sequence(call: Call, found: list[Array], backwards: bool) -> Array:
    """Every step in the order of the input, or the final one alone."""
    if not call.scalar("output_sequence", False):
        return np.stack(found[-1:])
    return np.stack(found[::-1] if backwards else found)
