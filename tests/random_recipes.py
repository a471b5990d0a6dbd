"""Recipes of random models as hypothesis draws them, and shrinks them: fewer steps, simpler ones, fewer inputs."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

from hypothesis import strategies as st

from tests.random_graphs import DTYPES, OFTEN, OPSETS, SHAPES, Recipe, Step
from tests.random_nodes import WEIGHTS
from tests.random_values import Shape

T = TypeVar("T")
_FAR = 10**30 + 57
"""Where drawn numbers are counted from: what no source says.

Into what it draws of a range, hypothesis mixes those of its numbers that are written in the modules loaded so far, ours
among them: one seed would give other models in another process, and after an edit anywhere. Nor does it prefer the
small ones of a range this far out.
"""

_NOTHING = "nothing"
_KINDS, _BOUNDS = [_NOTHING, *WEIGHTS], list(accumulate([12, *WEIGHTS.values()]))
FEWEST, MOST = 6, 14
"""Steps that are drawn; shrinking makes nothing of most of them, where a shortest list would be drawn too often."""


def _below(end: int) -> st.SearchStrategy[int]:
    """Natural numbers, all about equally often."""
    return st.integers(_FAR, _FAR + end - 1).map(lambda number: number - _FAR)


def _one_of(choices: Sequence[T]) -> st.SearchStrategy[T]:
    """The first is the simplest."""
    return _below(len(choices)).map(lambda index: choices[index])


_SEEDS = _below(1 << 24)


def _step(drawn: tuple[int, int]) -> Step:
    return Step(_KINDS[bisect(_BOUNDS, drawn[0])], drawn[1])


def _recipe(
    opset: int, ir_version: int, first: Shape, others: list[tuple[str, Shape]], steps: list[Step], seed: int
) -> Recipe:
    versions = OPSETS[opset]
    real = tuple(step for step in steps if step.kind != _NOTHING)
    return Recipe(opset, versions[ir_version % len(versions)], (("float32", first), *others), real, seed)


RECIPES: st.SearchStrategy[Recipe] = st.builds(
    _recipe,
    _one_of(OFTEN),
    _below(6),  # every opset has one to three IR versions
    _one_of(SHAPES),
    st.lists(st.tuples(_one_of(DTYPES), _one_of(SHAPES)), max_size=2),
    st.lists(st.builds(_step, st.tuples(_below(_BOUNDS[-1]), _SEEDS)), min_size=FEWEST, max_size=MOST),
    _SEEDS,
)
"""Few choices a recipe, whatever its size: what happens within a step comes from the step's own seed."""
