"""An open option takes every key that is no option: `{batch=1}` for `{dims=batch:1}`."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from onnxopt.pipeline.options import OptionError, build, format_options, options_of


@dataclass(frozen=True)
class Freeze:
    """Has an open option and one more."""

    sizes: dict[str, int] = field(metadata={"open": True})
    """Sizes by name."""
    keep_names: bool = False
    """Another."""


def test_keys_go_into_the_mapping_as_they_are_spelt() -> None:
    assert build(Freeze, {"batch": "1", "past_len": "2KiB"}) == Freeze({"batch": 1, "past_len": 2048})


def test_both_ways_of_writing_go_together() -> None:
    built = build(Freeze, {"sizes": "x[0]:2,b:3", "batch": "1", "keep-names": None})
    assert built == Freeze({"x[0]": 2, "b": 3, "batch": 1}, keep_names=True)


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ({"batch": 1, "seq": 2}, "{batch=1 seq=2}"),
        ({"x[0]": 1, "seq": 2}, "{seq=2 sizes=x[0]:1}"),
        ({"keep_names": 1}, "{sizes=keep_names:1}"),
        ({"sizes": 1}, "{sizes=sizes:1}"),
        ({"a_b": 1, "a-b": 2}, "{sizes=a_b:1,a-b:2}"),
        ({"past + 1": 1}, '{sizes="past + 1":1}'),
        ({}, "{sizes=}"),
    ],
)
def test_the_text_is_read_back(sizes: dict[str, int], text: str) -> None:
    from onnxopt.pipeline import grammar

    assert format_options(Freeze(sizes)) == text
    (element,) = grammar.parse(f"freeze{text}")
    assert build(Freeze, {option.key: option.value for option in element.options}) == Freeze(sizes)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"batch": "x"}, "freeze: batch takes an integer"),
        ({"batch": None}, "freeze: batch needs a value"),
        ({"batch": "1", "sizes": "batch:2"}, "batch is given twice"),
        ({"keep-names": None}, "freeze needs sizes"),
    ],
)
def test_errors(texts: dict[str, str | None], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        build(Freeze, texts)


def test_it_is_documented_as_any_other() -> None:
    assert [(option.name, option.doc, option.required) for option in options_of(Freeze)] == [
        ("sizes", "Sizes by name.", True),
        ("keep-names", "Another.", False),
    ]
