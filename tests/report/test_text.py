from __future__ import annotations

import pytest

from onnxopt.report.text import cell, html, shown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("conv1", "conv1"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("schön ☃", "schön ☃"),
        ("", ""),
    ],
)
def test_a_name_is_one_line_without_control_characters(text: str, line: str) -> None:
    assert shown(text) == line


def test_a_long_name_loses_its_middle() -> None:
    line = shown("model/" + "x" * 100_000 + "/weight", 20)
    assert len(line) == 20 and line.startswith("model/") and line.endswith("/weight")
    assert len(shown("\n" * 50, 20)) == 20


def test_what_looks_like_markup_is_text() -> None:
    assert cell("[red]x[/]").plain == "[red]x[/]"
    assert "[red]x[/]" in html(cell("[red]x[/]"))
    assert "<b>" not in html(cell("<b>"))
