"""Unified diffs of texts: they say what `diff -u` would, and stay fast where difflib does not."""

from __future__ import annotations

import re

import onnx.parser
from hypothesis import example, given
from hypothesis import strategies as st

from onnxopt import ir
from onnxopt.ir.diff import unified_texts

LINES = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "", " x"]), max_size=30)


def apply(before: list[str], patch: list[str]) -> list[str]:
    """What `patch` makes of `before`; fails where context or removed lines are not there."""
    after, at, index = [], 0, 0
    while index < len(patch):
        head = re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", patch[index])
        assert head, patch[index]
        start, old, _, new = (1 if number is None else int(number) for number in head.groups())
        start -= old > 0
        after += before[at:start]
        at, index = start, index + 1
        while old or new:
            mark, line = patch[index][0], patch[index][1:]
            index += 1
            if mark != "+":
                assert before[at] == line
                at, old = at + 1, old - 1
            if mark != "-":
                after.append(line)
                new -= 1
    return after + before[at:]


def text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


@given(LINES, LINES, st.integers(0, 3))
@example(["a"], [], 3)
@example([], ["a"], 0)
def test_the_patch_makes_one_text_the_other(before: list[str], after: list[str], context: int) -> None:
    before, after = ["start", *before], ["start", *after]
    assert apply(before, unified_texts(text(before), text(after), context=context)) == after


def test_equal_texts_have_no_difference() -> None:
    assert unified_texts("a\nb\n", "a\nb\n") == []


def test_the_format() -> None:
    before = [f"line {number}" for number in range(20)]
    after = [*before[:10], "new", *before[11:]]
    assert unified_texts(text(before), text(after), context=1) == [
        "@@ -10,3 +10,3 @@",
        " line 9",
        "-line 10",
        "+new",
        " line 11",
    ]


def test_a_line_that_moved_is_one_removal_and_one_addition() -> None:
    before = [str(number) for number in range(100)]
    after = [*before[:10], *before[11:90], before[10], *before[90:]]
    changes = [line for line in unified_texts(text(before), text(after)) if line[0] in "+-"]
    assert changes == ["-10", "+10"]


def test_200000_lines_of_which_most_differ() -> None:
    """A comparison of every line with every other would not end."""
    before = [f"{number % 7} {number // 10}" for number in range(100_000)]
    after = [f"{number % 5} {number // 10}" for number in range(100_000)]
    assert apply(before, unified_texts(text(before), text(after))) == after


def test_two_graphs() -> None:
    one, other = (
        ir.from_proto(
            onnx.parser.parse_model(
                f'<ir_version: 8, opset_import: ["" : 17]> g (float x) => (float y) {{ y = {op} (x) }}'
            )
        )
        for op in ("Abs", "Exp")
    )
    assert ir.unified(one, other, context=0) == ["@@ -3 +3 @@", "-  y = Abs (x)", "+  y = Exp (x)"]
