"""Exact second-order pruning of rows: the cheapest weight goes, and least squares make it good."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt.pruning import brain_surgeon
from onnxopt.pruning.brain_surgeon import removal_errors
from onnxopt.pruning.least_squares import refit
from onnxopt.pruning.patterns import Pattern, select

ANY = Pattern()


@pytest.fixture(autouse=True)
def _no_damping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxopt.pruning.least_squares.DAMPING", 1e-12)


def rows_and_data(rows: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and correlated data of them as [size, positions]."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, size)), rng.normal(size=(size, size)) @ rng.normal(size=(size, 500))


def moments(data: np.ndarray) -> np.ndarray:
    """As one group."""
    return (data @ data.T / data.shape[1])[np.newaxis]


def least_squares(weights: np.ndarray, data: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """One row, by numpy."""
    found = np.zeros_like(weights)
    found[keep] = np.linalg.lstsq(data[keep].T, weights @ data, rcond=None)[0]
    return found


def error(weights: np.ndarray, found: np.ndarray, data: np.ndarray) -> float:
    """Mean square, summed over the rows."""
    return float(np.square((found - weights) @ data).mean(axis=1).sum())


def test_refit_is_least_squares() -> None:
    weights, data = rows_and_data(5, 9)
    keep = np.random.default_rng(1).random(weights.shape) < 0.6
    found = refit(weights, moments(data), keep)
    wanted = [least_squares(row, data, kept) for row, kept in zip(weights, keep, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)
    assert not found[~keep].any()


def test_the_first_to_go_is_the_best_single_removal_and_its_error_is_what_is_lost() -> None:
    weights, data = rows_and_data(4, 7)
    found = removal_errors(weights, moments(data), ANY, 1)
    for row, errors in zip(weights, found, strict=True):
        lost = [
            error(row[np.newaxis], least_squares(row, data, np.arange(7) != gone)[np.newaxis], data)
            for gone in range(7)
        ]
        assert errors.argmin() == np.argmin(lost)
        assert errors.min() == pytest.approx(min(lost), rel=1e-6)


def test_every_removal_is_the_best_after_those_before_it() -> None:
    (weights,), data = rows_and_data(1, 6, seed=3)
    found = removal_errors(weights[np.newaxis], moments(data), ANY, 1)[0]
    keep = np.ones(6, np.bool_)
    for place in np.argsort(found, kind="stable")[:4]:
        lost = {}
        for gone in np.flatnonzero(keep):
            left = keep.copy()
            left[gone] = False
            lost[gone] = error(weights[np.newaxis], least_squares(weights, data, left)[np.newaxis], data)
        assert min(lost, key=lambda gone: lost[gone]) == place
        keep[place] = False


def test_errors_add_up_to_what_all_outputs_lose() -> None:
    (weights,), data = rows_and_data(1, 8, seed=5)
    found = removal_errors(weights[np.newaxis], moments(data), ANY, 1)
    assert (np.diff(np.sort(found[0])[:4]) > 0).all(), "none of these was raised to the one before it"
    keep = select(found, 0.5, ANY)
    lost = error(weights[np.newaxis], refit(weights[np.newaxis], moments(data), keep), data)
    assert np.sort(found[0])[:4].sum() == pytest.approx(lost, rel=1e-6)


@pytest.mark.parametrize("many", [40, 3])
def test_rows_do_not_depend_on_how_many_are_worked_on_together(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    weights, data = rows_and_data(many, 12)
    whole = removal_errors(weights, moments(data), ANY, 1)
    monkeypatch.setattr(brain_surgeon, "_BYTES", 1)
    np.testing.assert_allclose(removal_errors(weights, moments(data), ANY, 1), whole, rtol=1e-9)


def test_groups_have_moments_of_their_own() -> None:
    weights, data = rows_and_data(6, 5)
    _, other = rows_and_data(6, 5, seed=9)
    both = removal_errors(weights, np.concatenate([moments(data), moments(other)]), ANY, 1)
    np.testing.assert_allclose(both[:3], removal_errors(weights[:3], moments(data), ANY, 1))
    np.testing.assert_allclose(both[3:], removal_errors(weights[3:], moments(other), ANY, 1))


@pytest.mark.parametrize("kernel", [1, 3])
def test_of_n_m_so_many_of_each_group_go_and_the_first_is_the_best(kernel: int) -> None:
    pattern = Pattern.parse("2:4")
    weights, data = rows_and_data(3, 8 * kernel)
    found = removal_errors(weights, moments(data), pattern, kernel)
    grouped = found.reshape(3, 2, 4, kernel)
    assert (np.isfinite(grouped).sum(axis=2) == 2).all()
    free = removal_errors(weights, moments(data), ANY, kernel)
    np.testing.assert_array_equal(found.argmin(axis=1), free.argmin(axis=1))
    magnitude = refit(weights, moments(data), select(np.abs(weights), 0.5, pattern, kernel))
    exact = refit(weights, moments(data), select(found, 0.5, pattern, kernel))
    assert error(weights, exact, data) < error(weights, magnitude, data)


@pytest.mark.parametrize(("block", "kernel"), [("2x1", 1), ("1x2", 1), ("2x2", 3), ("4x3", 1)])
def test_the_first_block_to_go_is_the_best_single_one(block: str, kernel: int) -> None:
    pattern = Pattern.parse(block)
    rows, inputs = 4, 6
    weights, data = rows_and_data(rows, inputs * kernel)
    found = removal_errors(weights, moments(data), pattern, kernel)
    lost = {}
    for top in range(0, rows, pattern.outputs):
        for left in range(0, inputs, pattern.inputs):
            for place in range(kernel):
                keep = np.ones((rows, inputs, kernel), np.bool_)
                keep[top : top + pattern.outputs, left : left + pattern.inputs, place] = False
                kept = keep.reshape(rows, -1)
                lost[top, left, place] = (error(weights, refit(weights, moments(data), kept), data), kept)
    for top in range(0, rows, pattern.outputs):  # every band of rows has a first of its own
        least, kept = min((value for key, value in lost.items() if key[0] == top), key=lambda value: value[0])
        band = found[top : top + pattern.outputs]
        np.testing.assert_array_equal(band == band.min(), ~kept[top : top + pattern.outputs])
        assert band.min() * (~kept).sum() == pytest.approx(least, rel=1e-5)


def test_blocks_at_the_edges_are_smaller() -> None:
    weights, data = rows_and_data(3, 5)
    found = removal_errors(weights, moments(data), Pattern.parse("2x2"), 1)
    assert np.isfinite(found).all()
    assert len(np.unique(found[:2, :2])) == len(np.unique(found[:2, 4:])) == 1


def test_dead_and_constant_data_cost_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxopt.pruning.least_squares.DAMPING", 1e-4)
    weights, data = rows_and_data(3, 6)
    data[2] = 0
    data[4] = data[1]  # one of the two does for both
    found = removal_errors(weights, moments(data), ANY, 1)
    assert np.isfinite(found).all()
    assert all(set(np.argsort(row)[:2]) in ({1, 2}, {2, 4}) for row in found)
    keep = np.argsort(np.argsort(found, axis=1), axis=1) >= 2
    assert error(weights, refit(weights, moments(data), keep), data) < 1e-2 * error(weights, 0 * weights, data)
    nothing = removal_errors(weights, np.zeros((1, 6, 6)), ANY, 1)
    assert np.isfinite(nothing).all()
