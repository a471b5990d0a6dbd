"""Symbolic dimensions: polynomials that are equal where, and only where, they say the same."""

from __future__ import annotations

import itertools
import random

import pytest

from onnxopt.ir.proven import Dim, lowest
from onnxopt.ir.proven.dim import Atom
from onnxopt.ir.proven.extents import (
    all_joined,
    at_most,
    exact_quotient,
    floor_quotient,
    joined,
    larger,
    product,
    smaller,
    trunc_quotient,
    unequal,
)
from onnxopt.ir.tensor import Variable

N, M, K = (Dim.of("symbol", name) for name in "nmk")
SIZE = Dim.of("size", Variable("found"), 0)


def at(extent: int | Dim | None, **sizes: int) -> int:
    assert extent is not None
    return extent if isinstance(extent, int) else extent.at(lambda atom: sizes[atom.args[0]])


def test_expressions_are_canonical() -> None:
    assert N + M == M + N and N * M * K == K * (M * N) and hash(N + M) == hash(M + N)
    assert (N + 1) * (N - 1) == N * N - 1 and N + N == 2 * N and 3 - N == -(N - 3)
    assert N - N == 0 and N * 0 == 0 and (N + 2) - N == 2 and isinstance((N + 2) - N, int)
    assert Dim.of("symbol", "n") == N != M and N != 1 and N != "n"


def test_a_named_dimension_is_none_of_an_input_without_a_name() -> None:
    assert Dim.of("symbol", "x[0]") != Dim.of("axis", "x", 0)


def test_text_is_what_one_would_write() -> None:
    assert [str(extent) for extent in (N, 2 * N * M + 1, floor_quotient(N + 1, 2), SIZE)] == [
        "n", "2*m*n + 1", "floor(n + 1, 2)", "found[0]",
    ]  # fmt: skip


def test_who_decides_a_value() -> None:
    assert not (N * M + 1).of_data and (N + SIZE).of_data
    assert larger(N, SIZE * 2).of_data  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(200))
def test_every_operation_says_what_integers_say(seed: int) -> None:
    rng = random.Random(seed)
    operations = [
        lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, larger, smaller, floor_quotient, trunc_quotient,
    ]  # fmt: skip
    values: list[int | Dim] = [N, M, K, 0, 1, 2, 3, 12]
    for _ in range(12):
        one, other, operation = rng.choice(values), rng.choice(values), rng.choice(operations)
        found = operation(one, other)
        if found is None:
            continue
        for sizes in ({"n": 2, "m": 3, "k": 5}, {"n": 1, "m": 1, "k": 7}, {"n": 6, "m": 4, "k": 1}):
            try:
                left, right = at(one, **sizes), at(other, **sizes)
                if operation in (floor_quotient, trunc_quotient) and right == 0:
                    continue
                assert at(found, **sizes) == at(operation(left, right))
                low = lowest(found, nonempty=True)
                assert low is None or low <= at(found, **sizes)
            except ZeroDivisionError:  # somewhere within
                continue
        values.append(found)


def test_division() -> None:
    assert exact_quotient(12 * N * M, 4 * M) == 3 * N and exact_quotient(N * M + M, N + 1) == M
    assert exact_quotient(N + 1, 2) is None and exact_quotient(N, 0) is None and exact_quotient(N, M) is None
    assert floor_quotient(4 * N + 2 * M + 1, 2) == 2 * N + M
    assert floor_quotient(N - 1, 2) == floor_quotient(N + 1, 2) - 1  # type: ignore[operator]
    assert trunc_quotient(N - 3, 2) != floor_quotient(N - 3, 2)  # of -1, one gives 0 and the other -1


def test_bounds() -> None:
    assert lowest(2 * N + 3) == 3 and lowest(2 * N + 3, nonempty=True) == 5 and lowest(SIZE, nonempty=True) == 0
    assert lowest(-N) is None and lowest(N - M) is None and lowest(floor_quotient(N + 3, 2), nonempty=True) == 2
    assert at_most(N, N + M) and not at_most(N, M) and at_most(smaller(N, M), N) and at_most(N, larger(N, M))
    assert at_most(1, N, nonempty=True) and not at_most(1, N) and not at_most(1, SIZE, nonempty=True)
    assert unequal(N + 1, 0) and unequal(N, -1) and not unequal(N, 0) and not unequal(N, M)
    assert larger(N, 0) == N and smaller(N, N + 1) == N and larger(3, 5) == 5


def test_broadcasting() -> None:
    assert joined(N, 1) == N and joined(1, N) == N and joined(N, N) == N and joined(N, 7) == 7 and joined(0, N) == 0
    assert joined(N, M) == joined(M, N) and joined(joined(N, M), N) == joined(N, M)
    assert all_joined([1, N, M, K]) == joined(K, joined(M, N)) and all_joined([1, 1]) == 1
    for n, m in itertools.product((1, 4), repeat=2):
        assert at(joined(N, M), n=n, m=m) == max(n, m)
    assert joined(N, smaller(N, 128)) == N  # beyond 128 the two cannot be broadcast
    assert joined(N, smaller(N, M)) != N  # m may be 0, and n 1


def test_expressions_do_not_grow_without_bound() -> None:
    extent: int | Dim = 1
    for number in range(30):
        extent = extent * (Dim.of("symbol", f"a{number}") + Dim.of("symbol", f"b{number}"))
    assert isinstance(extent, Dim) and len(extent.terms) <= 24
    assert extent.at(lambda atom: 1) == 2**30
    assert product([N, 2, M]) == 2 * N * M
    total: int | Dim = 0
    common: int | Dim = 1
    for number in range(200):
        total, common = total + Dim.of("symbol", f"c{number}"), joined(common, Dim.of("symbol", f"d{number}"))
    assert isinstance(total, Dim) and isinstance(common, Dim) and max(len(total.terms), len(common.terms)) <= 24
    assert total.at(lambda atom: 3) == 600 and common.at(lambda atom: 7) == 7 and lowest(total, nonempty=True) == 200


def test_unused_atoms_are_forgotten() -> None:
    from onnxopt.ir.proven import dim

    before = len(dim._interned)
    made = [Dim.of("symbol", f"unused{number}") for number in range(50)]
    assert len(dim._interned) == before + 50 and isinstance(next(made[0].atoms), Atom)
    del made
    assert len(dim._interned) <= before + 1
