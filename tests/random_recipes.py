"""Recipes of random models as hypothesis draws them, and shrinks them: fewer steps, simpler ones, fewer inputs."""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate

from hypothesis import strategies as st

from tests.random_graphs import DTYPES, OFTEN, OPSETS, SHAPES, Recipe, Step
from tests.random_nodes import WEIGHTS

_NOTHING = "nothing"
_KINDS, _BOUNDS = [_NOTHING, *WEIGHTS], list(accumulate([12, *WEIGHTS.values()]))
_SEEDS = st.integers(0, (1 << 24) - 1)
FEWEST, MOST = 6, 14
"""Steps that are drawn; shrinking makes nothing of most of them, where a shortest list would be drawn too often."""


def _step(drawn: tuple[int, int]) -> Step:
    return Step(_KINDS[bisect(_BOUNDS, drawn[0])], drawn[1])


def _recipe(
    opset: int, ir_version: int, first: int, others: list[tuple[str, int]], steps: list[Step], seed: int
) -> Recipe:
    inputs = (("float32", SHAPES[first]), *((dtype, SHAPES[shape]) for dtype, shape in others))
    versions = OPSETS[opset]
    real = tuple(step for step in steps if step.kind != _NOTHING)
    return Recipe(opset, versions[ir_version % len(versions)], inputs, real, seed)


RECIPES: st.SearchStrategy[Recipe] = st.builds(
    _recipe,
    st.sampled_from(OFTEN),
    st.integers(0, 2),
    st.integers(0, len(SHAPES) - 1),
    st.lists(st.tuples(st.sampled_from(DTYPES), st.integers(0, len(SHAPES) - 1)), max_size=2),
    st.lists(st.builds(_step, st.tuples(st.integers(0, _BOUNDS[-1] - 1), _SEEDS)), min_size=FEWEST, max_size=MOST),
    _SEEDS,
)
"""Few choices a recipe, whatever its size: what happens within a step comes from the step's own seed."""
