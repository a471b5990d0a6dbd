"""One step of a recurrent layer, of operations that MIL has (operators LSTM and GRU, "Equations")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.encoders import stored
from onnxopt.backends.coreml.lowering.numbers import like
from onnxopt.backends.coreml.lowering.site import Array, Site

Cell = Callable[[Any, list[Any]], list[Any]]
"""What the input adds to the gates, [batch, gates * hidden], and the states before; gives the states after."""
_FUNCTIONS = {
    "Sigmoid": mb.sigmoid,
    "Tanh": mb.tanh,
    "Relu": mb.relu,
    "Softsign": mb.softsign,
    "Softplus": mb.softplus,
}


def _activations(site: Site, names: list[str]) -> list[Callable[..., Any]]:
    for name in names:
        site.require(name in _FUNCTIONS, f"attribute activations={name!r} cannot be said in MIL")
    return [_FUNCTIONS[name] for name in names]


def _kernel(site: Site, array: Array) -> Any:
    return stored(np.ascontiguousarray(array), site.values.fresh(f"{site.name}_recurrent"), site.target)


def _less(one: Any) -> Any:
    """1 - x."""
    return mb.sub(x=like(one, 1), y=one)


def lstm_cell(site: Site, names: list[str], recurrent: Array, peepholes: list[Any] | None, coupled: bool) -> Cell:
    """i = f(.. + Pi * c), f = f(.. + Pf * c) or 1 - i where coupled, c' = f * c + i * g(..), o = f(.. + Po * c').

    Args:
        recurrent: [4 * hidden, hidden], gates in the order i o f c.
        peepholes: Of i, o and f, [hidden] each.
    """
    f, g, h = _activations(site, names)
    kernel = _kernel(site, recurrent)
    seen = peepholes if peepholes is not None else [None] * 3

    def upon(gate: Any, peephole: Any | None, cell: Any) -> Any:
        return gate if peephole is None else mb.add(x=gate, y=mb.mul(x=cell, y=peephole))

    def step(given: Any, states: list[Any]) -> list[Any]:
        hidden, cell = states
        gates = mb.add(x=given, y=mb.linear(x=hidden, weight=kernel))
        into, out, forget, new = mb.split(x=gates, num_splits=4, axis=1)
        into = f(x=upon(into, seen[0], cell))
        forget = _less(into) if coupled else f(x=upon(forget, seen[2], cell))
        cell = mb.add(x=mb.mul(x=forget, y=cell), y=mb.mul(x=into, y=g(x=new)))
        out = f(x=upon(out, seen[1], cell))
        return [mb.mul(x=out, y=h(x=cell)), cell]

    return step


def gru_cell(site: Site, names: list[str], recurrent: Array, inside: Array | None) -> Cell:
    """z, r = f(..); h' = (1 - z) * g(.. + R (r * h)) + z * h, or g(.. + r * (R h + b)) where `linear_before_reset`.

    Args:
        recurrent: [3 * hidden, hidden], gates in the order z r h.
        inside: b, [hidden]; None where the reset comes before the product.
    """
    f, g = _activations(site, names)
    hidden_size = recurrent.shape[1]
    first, last = _kernel(site, recurrent[: 2 * hidden_size]), _kernel(site, recurrent[2 * hidden_size :])

    def step(given: Any, states: list[Any]) -> list[Any]:
        hidden = states[0]
        update, reset, new = mb.split(x=given, num_splits=3, axis=1)
        of_update, of_reset = mb.split(x=mb.linear(x=hidden, weight=first), num_splits=2, axis=1)
        update, reset = f(x=mb.add(x=update, y=of_update)), f(x=mb.add(x=reset, y=of_reset))
        if inside is None:
            part = mb.linear(x=mb.mul(x=reset, y=hidden), weight=last)
        else:
            part = mb.mul(x=reset, y=mb.linear(x=hidden, weight=last, bias=inside))
        new = g(x=mb.add(x=new, y=part))
        return [mb.add(x=mb.mul(x=_less(update), y=new), y=mb.mul(x=update, y=hidden))]

    return step
