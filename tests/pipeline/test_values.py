import enum
from typing import Any, Literal, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxopt.pipeline.values import format_value, kind_of, parse_value


class Granularity(enum.Enum):
    PER_TENSOR = "per-tensor"
    PER_CHANNEL = "per-channel"


class Level(enum.IntEnum):
    LOW = 1
    VERY_HIGH = 9


Merge = Literal["auto", "always", "none"]

TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (bool, st.booleans()),
    (int, st.integers(-(10**30), 10**30)),
    (float, st.floats(allow_nan=False)),
    (str, st.text()),
    (Granularity, st.sampled_from(Granularity)),
    (Level, st.sampled_from(Level)),
    (Merge, st.sampled_from(["auto", "always", "none"])),
    (tuple[str, ...], st.lists(st.text()).map(tuple)),
    (tuple[float, ...], st.lists(st.floats(allow_nan=False)).map(tuple)),
    (dict[str, int], st.dictionaries(st.text(), st.integers(-9, 9))),
    (str | None, st.none() | st.text() | st.just("none")),
    (Optional[Merge], st.sampled_from([None, "auto", "none"])),  # noqa: UP045 both spellings are in use
    (float | Literal["auto"], st.floats(allow_nan=False) | st.just("auto")),
    (int | Literal["auto", "none"] | None, st.none() | st.integers(0, 9) | st.sampled_from(["auto", "none"])),
    (tuple[str, ...] | None, st.none() | st.lists(st.text() | st.just("none")).map(tuple)),
]


@pytest.mark.parametrize(("declared", "values"), TYPES, ids=[str(declared) for declared, _ in TYPES])
def test_what_is_written_is_read_back(declared: Any, values: st.SearchStrategy[Any]) -> None:
    @settings(deadline=None)
    @given(values)
    def holds(value: Any) -> None:
        assert parse_value(format_value(value, declared), declared) == value

    holds()


@pytest.mark.parametrize(
    ("text", "declared", "value"),
    [
        ("true", bool, True),
        ("64KiB", int, 65536),
        ("10MB", int, 10_000_000),
        ("-3", int, -3),
        ("1e-3", float, 0.001),
        ("inf", float, float("inf")),
        ("per-channel", Granularity, Granularity.PER_CHANNEL),
        ("very-high", Level, Level.VERY_HIGH),
        ("a,b", tuple[str, ...], ("a", "b")),
        ('"a,b",c', tuple[str, ...], ("a,b", "c")),
        ("", tuple[str, ...], ()),
        ('""', tuple[str, ...], ("",)),
        ("a:1,b:2", dict[str, int], {"a": 1, "b": 2}),
        ('"x:0":1', dict[str, int], {"x:0": 1}),
        ("a,b", str, "a,b"),
        (r'"say \"hi\" \\ {}"', str, r'say "hi" \ {}'),
        (r"C:\weights", str, r"C:\weights"),
        ("none", int | None, None),
        ("none", str | None, None),
        ('"none"', str | None, "none"),
    ],
)
def test_texts(text: str, declared: Any, value: Any) -> None:
    assert parse_value(text, declared) == value


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("yes", bool),
        ("1.0", int),
        ("1_000", int),
        ("٣", int),  # a digit to Python, a typing error to us
        ("5KB", int),
        ("nan", float),
        ("", float),
        ("", str),
        ("sometimes", Merge),
        ("PER_CHANNEL", Granularity),
        ("1,", tuple[int, ...]),
        ("1,x", tuple[int, ...]),
        ("a", dict[str, int]),
        ("a:1,a:2", dict[str, int]),
        ("null", int | None),
        ("never", float | Literal["auto"]),
    ],
)
def test_a_text_of_another_type_is_refused(text: str, declared: Any) -> None:
    with pytest.raises(ValueError):
        parse_value(text, declared)


@pytest.mark.parametrize(
    "declared",
    [
        object,
        list[int],
        int | str,
        int | Literal[3],
        int | float | Literal["auto"],
        tuple[int, int],
        tuple[tuple[int, ...], ...],
        tuple[int | None, ...],
        dict[int, int],
    ],
)
def test_other_types_are_no_options(declared: Any) -> None:
    with pytest.raises(TypeError, match="is no type for an option; use bool, int"):
        kind_of(declared)


def test_a_kind_says_what_to_write() -> None:
    assert kind_of(Granularity).expected == "one of per-tensor|per-channel"
    assert kind_of(float | Literal["auto"]).expected == "a number, or one of auto"
    assert kind_of(tuple[bool, ...] | None).expected == "a list x,y,... where each is one of true|false, or none"
