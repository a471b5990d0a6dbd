from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxopt.pipeline.reduction.shrinking import shrink


def shrunk(count: int, needed: set[int]) -> tuple[list[int], int]:
    """What is left where `needed` alone decide, and how many were tried."""
    left, tried = set(range(count)), 0

    def remove(some) -> bool:
        nonlocal left, tried
        tried += 1
        if needed <= left - set(some):
            left -= set(some)
            return True
        return False

    found = shrink(range(count), remove)
    assert found == sorted(left)
    return found, tried


@given(st.integers(0, 60).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, max(0, n - 1)), max_size=n))))
def test_what_is_needed_is_left_and_nothing_else(case) -> None:
    count, needed = case
    needed = {number for number in needed if number < count}
    assert shrunk(count, needed)[0] == sorted(needed)


@pytest.mark.parametrize(("needed", "most"), [({700}, 30), ({10, 990}, 50), ({1, 2, 500, 501, 900}, 110)])
def test_of_a_thousand_few_are_tried(needed, most) -> None:
    assert shrunk(1000, needed)[1] <= most


def test_what_can_go_only_after_something_else_goes_too() -> None:
    left = list(range(8))

    def remove(some) -> bool:  # the lowest can go only when all above it are gone
        if any(other > max(some) for other in left if other not in some):
            return False
        left[:] = [item for item in left if item not in some]
        return True

    assert shrink(range(8), remove) == []


def test_nothing_to_remove() -> None:
    assert shrink([], lambda some: True) == []
    assert shrink([1], lambda some: False) == [1]
