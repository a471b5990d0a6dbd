"""Factors of low rank: the best there are by the second moments of the data."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt.factorizing.low_rank import Floats, product, separable


def seen(size: int, seed: int = 0) -> Floats:
    """Second moments of data of which some directions are much larger than others."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(4000, size)) * np.exp(1.5 * rng.normal(size=size)) @ rng.normal(size=(size, size))
    return np.asarray(data.T @ data / len(data))[np.newaxis]


def share(error: Floats, weights: Floats, moments: Floats) -> float:
    return float(
        np.einsum("gow,gwv,gov->", error, moments, error) / np.einsum("gow,gwv,gov->", weights, moments, weights)
    )


def plain(weights: Floats, rank: int) -> Floats:
    left, values, right = np.linalg.svd(weights, full_matrices=False)
    return np.asarray((left[..., :rank] * values[..., np.newaxis, :rank]) @ right[..., :rank, :])


def test_a_product_has_the_error_that_it_says_and_nearly_the_least_there_is() -> None:
    weights, moments = np.random.default_rng(1).normal(size=(1, 12, 20)), seen(20)
    spectrum = np.linalg.eigvalsh(weights[0] @ moments[0] @ weights[0].T)[::-1]
    for found in product(weights, moments):
        said = share(weights - found.outer @ found.inner, weights, moments)
        assert found.error == pytest.approx(said, abs=1e-9)
        least = spectrum[found.rank :].sum() / spectrum.sum()  # Eckart-Young, on W L
        assert least - 1e-9 <= found.error <= 1.05 * least + 1e-3
        if found.rank < 10:
            assert found.error < share(weights - plain(weights, found.rank), weights, moments)


@pytest.mark.parametrize("groups", [1, 2])
def test_separable_kernels_have_the_error_that_they_say_and_less_than_without_data(groups: int) -> None:
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(groups, 10, 4, 9))
    moments = np.concatenate([seen(36, seed) for seed in range(groups)])
    flat = weights.reshape(groups, 10, 36)
    errors = []
    for found in separable(weights, moments, 9):
        outer = found.outer.reshape(groups, 10, 4, found.rank)
        made = np.einsum("goir,girk->goik", outer, found.inner).reshape(flat.shape)
        assert found.error == pytest.approx(share(flat - made, flat, moments), abs=1e-9)
        by_channel = plain(weights.swapaxes(1, 2), found.rank).swapaxes(1, 2).reshape(flat.shape)
        assert found.rank == 9 or found.error < share(flat - by_channel, flat, moments)
        errors.append(found.error)
    assert errors == sorted(errors, reverse=True) and len(errors) == 9 and errors[-1] < 1e-12


def test_weights_of_low_rank_are_found_to_rounding() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(1, 12, 3)) @ rng.normal(size=(1, 3, 20))
    found = next(each for each in product(matrix, seen(20)) if each.rank == 3)
    assert found.error < 1e-12 and np.abs(found.outer @ found.inner - matrix).max() < 1e-9
    kernels, mixed = rng.normal(size=(1, 4, 2, 9)), rng.normal(size=(1, 10, 4, 2))
    weights = np.einsum("goir,girk->goik", mixed, kernels)
    two = list(separable(weights, seen(36), 2))[1]
    made = np.einsum("goir,girk->goik", two.outer.reshape(1, 10, 4, 2), two.inner)
    assert two.error < 1e-12 and np.abs(made - weights).max() < 1e-9


def test_data_that_never_change_leave_no_error() -> None:
    """Their covariance is 0: the bias takes everything."""
    weights = np.random.default_rng(4).normal(size=(1, 5, 6))
    assert next(product(weights, np.zeros((1, 6, 6)))).error == 0
    assert next(separable(weights.reshape(1, 5, 2, 3), np.zeros((1, 6, 6)), 1)).error == 0
