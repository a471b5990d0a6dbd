"""Permutations, against numpy's transpose."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from onnxopt.layout.permutation import (
    compose,
    inverse,
    is_identity,
    keeps_order,
    narrowed,
    permuted,
    widened,
    with_fixed,
    without,
)

CUBE = np.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize("perm", list(permutations(range(3))))
def test_against_numpy(perm: tuple[int, ...]) -> None:
    old = CUBE.transpose(perm)
    assert is_identity(compose(perm, inverse(perm)))
    assert np.array_equal(old.transpose(inverse(perm)), CUBE)
    assert permuted(old.shape, perm) == list(CUBE.shape)
    for other in permutations(range(3)):
        assert np.array_equal(CUBE.transpose(compose(perm, other)), old.transpose(other))
    for axis in range(3):  # taking an axis out before or after
        left = without(perm, [axis])
        assert np.array_equal(np.take(old, 0, axis), np.take(CUBE, 0, perm[axis]).transpose(left))
        put_in = with_fixed(perm, [axis])
        assert np.array_equal(np.expand_dims(old, axis), np.expand_dims(CUBE, axis).transpose(put_in))
    assert np.array_equal(CUBE[None].transpose(widened(perm, 4))[0], old)
    assert narrowed(widened(perm, 5), 3) == perm


def test_axes_of_other_dimensions_are_not_mixed_in() -> None:
    assert narrowed((0, 2, 1), 1) is None
    assert narrowed((1, 0, 2), 1) == (0,)
    assert narrowed((1, 0), 0) == ()


def test_axes_of_length_1_keep_the_order_of_memory() -> None:
    assert keeps_order((0, 2, 3, 1), (5, 1, 1, 7))
    assert not keeps_order((0, 2, 3, 1), (5, 2, 1, 7))
    assert not keeps_order((1, 0), (None, 2)) and keeps_order((1, 0), (None, 1))
