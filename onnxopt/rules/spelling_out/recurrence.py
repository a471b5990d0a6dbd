"""Recurrent layers as what they compute, step by step."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.tensor import Tensor
from onnxopt.rules.spelling_out.site import Result, Site

_MOST_STEPS = 64
_PLAIN = ("Tanh", "Relu", "Sigmoid")


def rnn(site: Site) -> Result:
    """H_t = f(X_t W^T + H_(t-1) R^T + Wb + Rb), one step after the other; up to 64 of them."""
    op = site.op
    steps, batch, _ = site.shape()
    site.float_type()
    hidden = site.attr("hidden_size") or site.shape(2)[-1]
    directions = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[site.attr("direction")]
    kinds = site.attr("activations") or ["Tanh"] * len(directions)
    kinds = [kind.decode() if isinstance(kind, bytes) else kind for kind in kinds]
    if steps > _MOST_STEPS or not steps:
        raise NoMatch(f"{steps} steps: up to {_MOST_STEPS} are unrolled")
    if site.attr("layout", 0) or "clip" in site.node.attrs or any(kind not in _PLAIN for kind in kinds):
        raise NoMatch("its layout is 1, it clips, or its activation is another one than Tanh, Relu and Sigmoid")
    if site.given(4) and not np.all(site.value(4) == steps):
        raise NoMatch("its sequences are of several lengths")
    every: list[Node] = []
    last: list[Node] = []
    for index, backwards in enumerate(directions):
        weights, recurrent = (op.Transpose(_one(site, at, index), perm=[1, 0]) for at in (1, 2))
        state: Tensor | Node = _one(site, 5, index) if site.given(5) else np.zeros((batch, hidden), site.dtype())  # type: ignore[assignment]
        bias: Node | None = None
        if site.given(3):
            both = _one(site, 3, index)
            bias = op.Add(op.slice(both, 0, 0, hidden), op.slice(both, 0, hidden, 2 * hidden))
        states: list[Node] = []
        for step in range(steps)[:: -1 if backwards else 1]:
            x = op.squeeze(op.slice(site[0], 0, step, step + 1), [0])
            total = op.Add(op.MatMul(x, weights), op.MatMul(state, recurrent))
            state = op.make(kinds[index], op.Add(total, bias) if bias else total)
            states.append(state)
        last.append(op.reshape(states[-1], [1, batch, hidden]))
        ordered = states[:: -1 if backwards else 1]
        every.append(_joined(site, [op.reshape(each, [1, 1, batch, hidden]) for each in ordered], 0))
    return _joined(site, every, 1) if site.used(0) else None, _joined(site, last, 0)


def _one(site: Site, index: int, direction: int) -> Node:
    """What an input has for one direction."""
    return site.op.squeeze(site.op.slice(site[index], 0, direction, direction + 1), [0])


def _joined(site: Site, parts: list[Node], axis: int) -> Node:
    return site.op.Concat(*parts, axis=axis) if len(parts) > 1 else parts[0]
