"""Where observers clip, on distributions of which that is known."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt.quantization.encoding import Encoding, Integer
from onnxopt.quantization.histogram import Histogram, Scratch
from onnxopt.quantization.observers import Observing
from onnxopt.quantization.observers.entropy import divergence

UINT8, INT8 = Integer("uint8", symmetric=False), Integer("int8", symmetric=True)


def ends(method: str, values: np.ndarray, integer: Integer = UINT8, **settings: float) -> tuple[float, float]:
    observer = Observing(method, **settings).observer(integer, Scratch())  # type: ignore[arg-type]
    low, high = float(values.min()), float(values.max())
    observer.add(values, low, high)
    return observer.ends(low, high)


def laplace(count: int = 200_000) -> np.ndarray:
    return np.random.default_rng(0).laplace(size=count).astype(np.float32)


def squared_error(values: np.ndarray, clip: tuple[float, float], integer: Integer) -> float:
    error = values - Encoding.of_range(*clip, integer).round_trip(values)
    return float((error.astype(np.float64) ** 2).mean())


@pytest.mark.parametrize("name", ["uint4", "int4", "uint8", "int8", "uint16"])
@pytest.mark.parametrize("kind", ["laplace", "relu", "lopsided"])
def test_mse_finds_the_smallest_error(name: str, kind: str) -> None:
    """Against trying many ranges on the values themselves."""
    integer = Integer(name, symmetric=name == "int8")
    values = {
        "laplace": laplace(20_000),
        "relu": np.maximum(laplace(20_000), 0),
        "lopsided": np.exp(laplace(20_000) / 4) - 1,
    }
    data = values[kind].astype(np.float32)
    low, high = float(data.min()), float(data.max())
    tried = min(squared_error(data, (low * a, high * a), integer) for a in np.linspace(0.1, 1, 91))
    assert squared_error(data, ends("mse", data, integer), integer) <= 1.02 * tried


def test_entropy_clips_a_long_tail_and_no_uniform() -> None:
    long = np.concatenate([laplace(), np.array([60.0], np.float32)])
    low, high = ends("entropy", long, INT8)
    assert high < 15 and low > -15
    even = np.random.default_rng(0).uniform(0, 4, 200_000).astype(np.float32)
    assert ends("entropy", even)[1] > 3.9


def test_entropy_with_16_bits_clips_nothing() -> None:
    values = laplace()
    assert ends("entropy", values, Integer("uint16", symmetric=False)) == (values.min(), values.max())


def test_divergence_is_that_of_kullback_and_leibler() -> None:
    """Eight bins, two levels, nothing clipped: each level is its mean; then two bins clipped into the last."""
    counts = np.array([4, 2, 2, 0, 1, 1, 1, 1])
    p = counts[counts > 0] / 12
    q = np.array([8 / 3, 8 / 3, 8 / 3, 1, 1, 1, 1]) / 12
    assert divergence(counts, 8, 2) == pytest.approx((p * np.log(p / q)).sum())
    p, q = np.array([4, 2, 2, 1, 3]) / 12, np.array([8 / 3, 8 / 3, 8 / 3, 1, 1]) / 10
    assert divergence(counts, 6, 2) == pytest.approx((p * np.log(p / q)).sum())


def test_percentile_by_magnitude_where_symmetric() -> None:
    values = laplace()
    low, high = ends("percentile", values, INT8, percentile=99)
    assert -low == pytest.approx(high) == pytest.approx(np.quantile(np.abs(values), 0.99), rel=0.01)
    low, high = ends("percentile", values, UINT8, percentile=99)
    assert (low, high) == pytest.approx(tuple(np.quantile(values, [0.005, 0.995])), rel=0.01)


@pytest.mark.parametrize("method", ["minmax", "moving-average", "percentile", "entropy", "mse"])
@pytest.mark.parametrize("integer", [UINT8, INT8])
@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0], [-2.0], [1.0, 2.0], [-1.0, -3.0], [-1.0, 1e30]])
def test_ends_are_never_outside_of_what_was_seen(method: str, integer: Integer, values: list[float]) -> None:
    data = np.array(values, np.float32)
    low, high = ends(method, data, integer)
    assert data.min() <= low <= high <= data.max()


def test_observers_share_no_counts() -> None:
    scratch = Scratch()
    one, other = Histogram(scratch), Histogram(scratch)
    one.add(np.ones(3, np.float32), 1, 1)
    other.add(np.zeros(5, np.float32), 0, 0)
    assert (one.counts.sum(), other.counts.sum()) == (3, 5)
