"""Where zeros lie: so many, in the pattern, lowest scores first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxopt.pruning.patterns import Pattern, block_means, lowest, select, spread

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("text", ["unstructured", "2:4", "1:16", "4x1", "1x8"])
def test_a_pattern_is_written_as_it_is_read(text: str) -> None:
    assert str(Pattern.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("structured", "is none: give unstructured, N:M as in 2:4, or a block as in 4x1"),
        ("", "is none"),
        ("2:4:8", "is none"),
        ("-1:4", "is none"),
        ("٢:٤", "is none"),
        ("4:4", "keeps 4 of 4: give fewer than 4"),
        ("0:4", "keeps 0 of 4"),
        ("1x1", "a single weight or none"),
        ("0x4", "a single weight or none"),
    ],
)
def test_what_is_no_pattern(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Pattern.parse(text)


@given(st.integers(1, 9), st.integers(1, 12), st.floats(0, 1), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_exactly_the_share_goes_and_the_lowest(outputs: int, columns: int, share: float, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 4, (outputs, columns)).astype(np.float32)
    keep = select(scores, share)
    assert np.count_nonzero(~keep) == round(share * scores.size)
    if keep.any() and not keep.all():
        assert scores[keep].min() >= scores[~keep].max()


def test_of_equal_scores_the_first_go() -> None:
    np.testing.assert_array_equal(select(np.ones((2, 4)), 0.5), [[False] * 4, [True] * 4])


def test_what_is_zero_already_goes_in_any_case_and_counts() -> None:
    scores = np.array([[-np.inf, 1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(select(scores, 0.5), [[False, False, True, True]])
    np.testing.assert_array_equal(select(scores, 0.0), [[False, True, True, True]])


@pytest.mark.parametrize("kernel", [1, 9])
def test_n_of_m_inputs_at_each_place_of_the_kernel(kernel: int) -> None:
    scores = RNG.normal(size=(6, 8 * kernel))
    keep = select(scores, 0.9, Pattern.parse("2:4"), kernel).reshape(6, 2, 4, kernel)
    assert (np.count_nonzero(keep, axis=2) == 2).all()
    cube = scores.reshape(6, 2, 4, kernel)
    best = np.sort(cube, axis=2)[:, :, 2:]
    np.testing.assert_array_equal(np.sort(np.where(keep, cube, -np.inf), axis=2)[:, :, 2:], best)


def test_of_equal_inputs_the_first_go_and_nan_stays() -> None:
    scores = np.array([[1, 1, 1, 1, np.nan, 5, 6, 7]])
    np.testing.assert_array_equal(select(scores, 0, Pattern.parse("1:4")), [[0, 0, 0, 1, 1, 0, 0, 0]])
    np.testing.assert_array_equal(select(scores, 0, Pattern.parse("3:8")), [[0, 0, 0, 0, 1, 0, 1, 1]])


def test_blocks_go_whole() -> None:
    scores = RNG.random((8, 6 * 4))
    pattern = Pattern.parse("4x2")
    keep = select(scores, 0.5, pattern, kernel=4).reshape(2, 4, 3, 2, 4)
    whole = keep.all(axis=(1, 3))
    assert (keep.any(axis=(1, 3)) == whole).all() and np.count_nonzero(~whole) == 12
    means = scores.reshape(2, 4, 3, 2, 4).mean(axis=(1, 3))
    assert means[whole].min() >= means[~whole].max()


def test_blocks_at_the_edge_are_smaller() -> None:
    scores = np.ones((5, 3))
    means = block_means(scores, Pattern.parse("2x2"))
    assert means.shape == (3, 2, 1) and (means == 1).all()
    keep = np.ones((3, 2, 1), bool)
    keep[2, 1] = False
    found = spread(keep, Pattern.parse("2x2"), (5, 3))
    assert found.shape == (5, 3) and np.argwhere(~found).tolist() == [[4, 2]]


@pytest.mark.parametrize(
    ("text", "inputs", "reason"), [("2:4", 6, "6 inputs a group are no multiple of 4"), ("1x8", 6, "less than a block")]
)
def test_a_layer_that_cannot_have_the_pattern(text: str, inputs: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        select(np.ones((4, inputs)), 0.5, Pattern.parse(text))


def test_lowest_of_nothing() -> None:
    assert lowest(np.ones((2, 2)), 0).all() and not lowest(np.ones((2, 2)), 1).any()
