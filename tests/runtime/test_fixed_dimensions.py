"""Sizes given to the symbols of a shape."""

from __future__ import annotations

import pytest

from onnxopt.data.spec import ValueSpec
from onnxopt.runtime.dimensions import GUESSES, bind, fixed, unnamed


@pytest.mark.parametrize(
    ("shape", "sizes", "expected"),
    [
        (["n", 3, "m"], {"n": 2}, [2, 3, "m"]),
        (["n", None], {"x[1]": 4}, ["n", 4]),
        (["past + 1"], {"past": 0}, [1]),
        (["2*n - m"], {"n": 3, "m": 6}, [0]),
        (["n - 4"], {"n": 3}, ["3 - 4"]),
        (["past + seq"], {"past": 2}, ["2 + seq"]),
        (["past + seq"], {"past + seq": 7}, [7]),
        (["n//2"], {"n": 5}, [2]),
        (["n//m"], {"n": 5, "m": 0}, ["5//0"]),
        (["Max(1, n)"], {"n": 5}, ["Max(1, 5)"]),
        (["nn"], {"n": 5}, ["nn"]),
        (["batch size"], {"batch size": 5}, [5]),
    ],
)
def test_fixed(shape: list[int | str | None], sizes: dict[str, int], expected: list[int | str | None]) -> None:
    assert fixed("x", shape, sizes) == expected


def test_dimensions_without_a_name_are_called_by_input_and_axis() -> None:
    assert unnamed("x", [None, "n", 3, None]) == ["x[0]", "x[3]"]
    spec = ValueSpec("x", shape=(None, "n", None))
    assert bind([spec], {"x[0]": 5, "n": 6}, GUESSES[0])["x"][:2] == (5, 6)
