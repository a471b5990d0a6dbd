"""`merge-reshapes` on random chains: equal outputs at more than one size, never a node more."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.bindings import check_at
from tests.passes.checks import run_pass
from tests.passes.reshape_models import MERGE, between


def _random_chain(rng: np.random.Generator) -> tuple[str, str]:
    """Nodes that keep the elements of a float[n,3,m,4], n = 2 and m = 6 or so, and the weights they read."""
    shape, body, weights, value = [2, 3, 6, 4], "", [], "a"
    for number in range(int(rng.integers(2, 6))):
        kind, new = rng.choice(["Reshape", "Squeeze", "Unsqueeze", "Flatten", "Relu"]), f"v{number}"
        ones = [axis for axis, dim in enumerate(shape) if dim == 1]
        if kind == "Squeeze" and ones:
            values = [int(rng.choice(ones))]
            shape = [dim for axis, dim in enumerate(shape) if axis not in values]
        elif kind == "Unsqueeze":
            values = [int(rng.integers(len(shape) + 1))]
            shape.insert(values[0], 1)
        elif kind == "Reshape":
            total, values, rest = int(np.prod(shape)), [], int(np.prod(shape))
            while rest > 1 and len(values) < 3:
                values.append(int(rng.choice([dim for dim in (1, 2, 3, 4, 6, 12) if rest % dim == 0])))
                rest //= values[-1]
            values.append(rest)
            before, shape = shape, list(values)
            assert int(np.prod(shape)) == total
            values = [0 if i < len(before) and before[i] == dim and rng.random() < 0.5 else dim
                      for i, dim in enumerate(values)]  # fmt: skip
            if rng.random() < 0.7:
                values[int(rng.integers(len(values)))] = -1
        elif kind == "Flatten":
            axis = int(rng.integers(len(shape) + 1))
            shape = [int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))]
            body += f" {new} = Flatten <axis = {axis}> ({value})"
            value = new
            continue
        else:
            body += f" {new} = Relu ({value})"
            value = new
            continue
        weights.append(f"int64[{len(values)}] w{number} = {{{', '.join(map(str, values))}}}")
        body += f" {new} = {kind} ({value}, w{number})"
        value = new
    return f"{body} b = Neg ({value})", ", ".join(weights)


@pytest.mark.parametrize("seed", range(60))
def test_random_chains_keep_their_shape(seed: int) -> None:
    body, weights = _random_chain(np.random.default_rng(seed))
    graph = between(body, weights)
    count = len(graph.nodes)
    changed, _ = run_pass(MERGE, graph.copy())
    check_at(MERGE, graph, {"n": 2, "m": 6}, expect_change=changed)
    assert len(graph.nodes) <= count
