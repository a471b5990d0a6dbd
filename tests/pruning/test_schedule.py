"""Zeros that come step by step: most of them first."""

from __future__ import annotations

import pytest

from onnxopt.pruning.patterns import Pattern
from onnxopt.pruning.schedule import steps_to


def test_one_step_is_all_of_it() -> None:
    assert list(steps_to(Pattern(), 1)) == [(1, Pattern())]


def test_cubic() -> None:
    parts = [part for part, _ in steps_to(Pattern.parse("4x1"), 4)]
    assert parts == pytest.approx([37 / 64, 56 / 64, 63 / 64, 1])


def test_n_comes_down_to_itself() -> None:
    assert [str(pattern) for _, pattern in steps_to(Pattern.parse("2:16"), 3)] == ["6:16", "3:16", "2:16"]
