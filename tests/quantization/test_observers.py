"""Where observers clip, on distributions of which that is known."""

from __future__ import annotations

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from onnxopt.quantization.encoding import Encoding, Integer
from onnxopt.quantization.histogram import Histogram, Scratch
from onnxopt.quantization.observers import METHODS, Observing
from onnxopt.quantization.observers.entropy import divergences

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
    """Eight bins in two levels, with nothing clipped and with two bins clipped; and as many levels as bins."""
    p = np.array([4, 2, 2, 0, 1, 1, 1, 1]) / 12
    whole = np.array([8 / 3, 8 / 3, 8 / 3, 1, 1, 1, 1, 1]) / 12
    clipped = np.array([8 / 3, 8 / 3, 8 / 3, 1, 2, 2, 1e-4, 1e-4]) / 12
    expected = [sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a) for q in (whole, clipped)]
    np.testing.assert_allclose(divergences(p, np.array([8, 6, 8]), np.array([2, 2, 9])), [*expected, 0], atol=1e-12)


def activations(kind: str) -> np.ndarray:
    """As layers make them: with many zeros, with a constant background, and saturated."""
    values = laplace(100_000) * 2 - 0.5
    values[:30_000] = 0.8125
    made = {
        "relu": np.maximum(values, 0),
        "relu6": np.clip(values * 2, 0, 6),
        "swish": values / (1 + np.exp(-values)),
        "signed": values,
    }
    return np.asarray(made[kind], np.float32)


@pytest.mark.parametrize("levels", [128, 256])
@pytest.mark.parametrize("kind", ["relu", "relu6", "swish", "signed"])
def test_entropy_is_no_worse_than_onnxruntimes_on_the_same_values(kind: str, levels: int) -> None:
    values = activations(kind)
    most = np.abs(values).max()
    counts, edges = np.histogram(values, 1024, range=(-most, most))
    collector = HistogramCollector("entropy", False, 1024, levels, 99.99, "same")
    low, high = collector.get_entropy_threshold((counts, edges, values.min(), values.max()), levels)
    theirs = squared_error(values, (float(low), float(high)), UINT8)
    assert squared_error(values, ends("entropy", values), UINT8) <= 1.01 * theirs


@pytest.mark.parametrize("kind", ["relu", "relu6", "swish", "signed"])
def test_entropy_loses_hardly_anything_where_a_peak_is(kind: str) -> None:
    values = activations(kind)
    kept = ends("entropy", values)
    outside = (values < kept[0]) | (values > kept[1])
    assert outside.mean() < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_any_stream_gives_ends(method: str) -> None:
    """Of any magnitude, of zeros only, with one value in a batch, and of float64 that no float32 is."""
    rng = np.random.default_rng(0)
    for number in range(60):
        integer = (UINT8, INT8, Integer("uint16", symmetric=False), Integer("int4", symmetric=True))[number % 4]
        observer = Observing(method).observer(integer, Scratch(), of_channel=number % 3 == 0)  # type: ignore[arg-type]
        low, high = np.inf, -np.inf
        for size in rng.choice([1, 2, 100, 3000], 3):
            kinds = [rng.normal(size=size), np.zeros(size), np.full(size, -1.0), 2.0 ** rng.integers(-140, 100, size)]
            scale = 10.0 ** rng.uniform(-30, 30)
            values = np.asarray(kinds[rng.integers(4)] * scale).clip(-3e38, 3e38)
            values = values.astype(np.float32 if rng.random() < 0.5 else np.float64)
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            observer.add(values, float(values.min()), float(values.max()))
        least, most = observer.ends(low, high)
        assert low <= least <= most <= high
        assert -1e-9 <= observer.share_outside(least, most) <= 1


@pytest.mark.parametrize("method", METHODS)
def test_ends_of_nothing(method: str) -> None:
    observer = Observing(method).observer(UINT8, Scratch())  # type: ignore[arg-type]
    assert observer.ends(0.0, 0.0) == (0, 0)
    assert observer.share_outside(0.0, 0.0) == 0


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
