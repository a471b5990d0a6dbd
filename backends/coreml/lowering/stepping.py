"""Steps one after the other: spelled out where they are few, else a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from coremltools.converters.mil import Builder as mb

from onnxopt.backends.coreml.lowering.values import as_mil

MOST = 64
"""More steps are a loop."""
Step = Callable[[Any, list[Any]], tuple[Any, list[Any]]]
"""Of the number of the step, int32, and the states before; gives a row of the result, and the states after."""


def in_steps(count: int, step: Step, states: list[Any], row: npt.NDArray[Any]) -> tuple[Any, list[Any]]:
    """Every row, [count, ...], and the last states.

    Args:
        count: How many steps, one at least.
        step: One of them.
        states: The states before the first, Vars.
        row: Zeros of the shape and type of a row.
    """
    if count <= MOST:
        rows = []
        for at in range(count):
            found, states = step(np.int32(at), states)
            rows.append(found)
        return mb.stack(values=rows, axis=0), states
    done = as_mil(np.zeros((count, *row.shape), row.dtype))

    def goes_on(at: Any, *_: Any) -> Any:
        return mb.less(x=at, y=np.int32(count))

    def once(at: Any, done: Any, *before: Any) -> list[Any]:
        found, after = step(at, list(before))
        place, found = mb.expand_dims(x=at, axes=[0]), mb.expand_dims(x=found, axes=[0])
        done = mb.scatter(data=done, indices=place, updates=found, axis=0, mode="update")
        return [mb.add(x=at, y=np.int32(1)), done, *after]

    _, done, *states = mb.while_loop(_cond=goes_on, _body=once, loop_vars=(mb.const(val=np.int32(0)), done, *states))
    return done, list(states)
