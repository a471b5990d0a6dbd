"""Random ensembles of every mode and type: what onnxruntime says of them stays the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxopt.passes.compact_trees import CompactTrees
from tests.trees.agreement import assert_same, compacted
from tests.trees.random_ensembles import RandomEnsemble, feeds, model, newer, random_case

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from(["smallest", "same"]))
def test_older_operators(seed: int, encoding: str) -> None:
    before, x = random_case(seed)
    assert_same(before, compacted(before, CompactTrees(encoding=encoding)), x)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SEEDS)
def test_newer_operator(seed: int) -> None:
    rng = np.random.default_rng(seed)
    attrs = newer(RandomEnsemble(rng, "TreeEnsembleRegressor", np.float32).attrs())
    if attrs is None:
        return
    before = model("TreeEnsemble", attrs, opset=5)
    after = compacted(before)
    assert after.ByteSize() < before.ByteSize() or after == before  # some that ask for equality are left alone
    assert_same(before, after, feeds(rng))


@pytest.mark.parametrize("encoding", ["smallest", "same"])
def test_splits_above_leaves_that_are_equal_without_their_zeros(encoding: str) -> None:
    before, x = random_case(6761)
    assert_same(before, compacted(before, CompactTrees(encoding=encoding)), x)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 6000, 500))
def test_many(first: int) -> None:
    for seed in range(first, first + 500):
        before, x = random_case(seed)
        assert_same(before, compacted(before), x)
