from __future__ import annotations

import pytest

from onnxopt.report.units import amount, change, size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (359_629, "351.2 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (3 * 1024**4, "3.0 TiB"),
    ],
)
def test_bytes_are_in_powers_of_1024(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (999, "999"), (78_400, "78.4 K"), (999_990, "1.0 M"), (4_100_000_000, "4.1 G")]
)
def test_counts_are_in_powers_of_1000(count: int, text: str) -> None:
    assert amount(count) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (10, 10, ""),
        (0, 0, ""),
        (0, 3, "new"),
        (36, 0, "gone"),
        (113, 51, "-54.9 %"),
        (100, 150, "+50.0 %"),
        (100_000, 99_999, "-<0.1 %"),
        (1, 50, "x 50"),
    ],
)
def test_a_change_is_a_percentage(before: int, after: int, text: str) -> None:
    assert change(before, after) == text
