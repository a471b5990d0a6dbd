"""Histograms that grow: nothing is lost, and it does not matter in which order or in what batches values come."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt.quantization.histogram import Histogram


def filled(*parts: np.ndarray, bins: int = 4096) -> Histogram:
    histogram = Histogram(bins=bins)
    for part in parts:
        histogram.add(part, float(part.min()), float(part.max()))
    return histogram


def test_counts_are_numpys() -> None:
    values = np.random.default_rng(0).normal(size=50_000).astype(np.float32)
    histogram = filled(values)
    expected, _ = np.histogram(values, histogram.edges)
    np.testing.assert_array_equal(histogram.counts, expected)
    assert 2048 <= len(histogram.counts) <= 4096


def test_any_order_gives_the_same() -> None:
    rng = np.random.default_rng(0)
    parts = [np.asarray(rng.normal(size=1000) * scale, np.float32) for scale in (1e-6, 1, 1000, 3e-3, 20)]
    one, other = filled(*parts), filled(*reversed(parts))
    assert (one.width, one.first) == (other.width, other.first)
    np.testing.assert_array_equal(one.counts, other.counts)
    assert one.counts.sum() == 5000


@pytest.mark.parametrize("values", [[0.0], [-0.0, 0.0], [7.0], [-3e38, 3e38], [1e-40, 1e-38], [100.0, 100.5]])
def test_extreme_ranges(values: list[float]) -> None:
    histogram = filled(np.array(values, np.float32), np.zeros(3, np.float32))
    assert histogram.counts.sum() == len(values) + 3
    assert len(histogram.counts) <= 4096 and len(histogram.absolute()) <= 4096


def test_quantiles_and_shares() -> None:
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    histogram = filled(values)
    for share in (0.001, 0.3, 0.9995):
        assert histogram.quantile(share) == pytest.approx(np.quantile(values, share), abs=3 * histogram.width)
        assert histogram.quantile(share, magnitudes=True) == pytest.approx(
            np.quantile(np.abs(values), share), abs=3 * histogram.width
        )
    assert histogram.share_outside(-1, 2) == pytest.approx(((values < -1) | (values > 2)).mean(), abs=1e-3)
    assert histogram.share_outside(-np.inf, np.inf) == 0


def test_thinned_counts_stand_for_all_values() -> None:
    rng = np.random.default_rng(0)
    histogram = Histogram()
    for _ in range(40):
        values = np.maximum(rng.normal(size=100_000), 0).astype(np.float32)
        histogram.add(values, 0.0, float(values.max()))
    total = histogram.counts.sum()
    assert total == pytest.approx(4_000_000, rel=1e-3)
    assert histogram.quantile(0.9) == pytest.approx(1.2816, abs=0.01)
    assert histogram.share_outside(-np.inf, 2.0) == pytest.approx(0.02275, abs=5e-4)


def test_float64_that_rounds_up_to_the_next_bin() -> None:
    values = np.array([-1.0, 2.0**40 - 1], np.float64)
    assert filled(values).counts.sum() == 2
