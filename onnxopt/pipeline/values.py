"""Option values as text: `0.3`, `64KiB`, `auto`, `a,b`, `name:1`, `"two words"`; the declared type decides which."""

from __future__ import annotations

import enum
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

QUOTED = r'"(?:[^"\\]|\\.)*"'
"""A quoted text as the pipeline grammar spells it: a backslash takes the character after it as it is."""
_PIECE = re.compile(rf"{QUOTED}|.", re.DOTALL)
_SIZES = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_INTEGER = re.compile(rf"([+-]?[0-9]{{1,40}})({'|'.join(_SIZES)})", re.ASCII)


@dataclass(frozen=True)
class Kind:
    """How the values of one type are written: `parse` and `format` are inverses."""

    expected: str
    """What to write, as an error and a table of options say it: `one of auto|always|never`."""
    parse: Callable[[str], Any]
    """Raises ValueError for a text that is no value of the type."""
    format: Callable[[Any], str]
    scalar: bool = True
    """Whether a list may hold it: not so a list, a mapping, or what may be none."""


def parse_value(text: str, declared: Any) -> Any:
    """The value of type `declared` that `text` stands for. ValueError if it is none, TypeError as `kind_of`."""
    return kind_of(declared).parse(text)


def format_value(value: Any, declared: Any) -> str:
    """The canonical text of a value of type `declared`, which `parse_value` reads back. TypeError as `kind_of`."""
    return kind_of(declared).format(value)


def quote(text: str) -> str:
    """`text` as one value: bare where it can be, else in double quotes."""
    if text.isprintable() and re.fullmatch(r'[^\s{}(),:="\\]+', text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(text: str) -> str:
    """The text that a value stands for. ValueError if nothing is written, not even `""`."""
    if not text:
        raise ValueError("nothing is written")
    return "".join(
        re.sub(r"\\(.)", r"\1", piece[1:-1], flags=re.DOTALL) if len(piece) > 1 else piece
        for piece in _PIECE.findall(text)
    )


def kind_of(declared: Any) -> Kind:
    """The kind of a resolved type annotation.

    One of bool, int, float, str, an Enum, a Literal, a number or a Literal (`float | Literal["auto"]`), `tuple[T, ...]`
    or `dict[str, T]` of these, and any of it or None. TypeError for any other type.
    """
    origin, arguments = get_origin(declared), get_args(declared)
    if declared in _SCALARS:
        return _SCALARS[declared]
    if origin is None and isinstance(declared, type) and issubclass(declared, enum.Enum):
        return _choice({_enum_text(member): member for member in declared})
    if origin is Literal:
        return _choice({_literal_text(value): value for value in arguments})
    if origin in (Union, types.UnionType):
        given = [argument for argument in arguments if argument is not types.NoneType]
        words = [argument for argument in given if get_origin(argument) is Literal]
        numbers = [argument for argument in given if argument in (int, float)]
        if len(given) == 1:
            return _optional(kind_of(given[0]))
        if len(words) == len(numbers) == 1 and len(given) == 2 and all(isinstance(w, str) for w in get_args(words[0])):
            either = _number_or_word(kind_of(numbers[0]), kind_of(words[0]))
            return _optional(either) if types.NoneType in arguments else either
    if origin is tuple and arguments[1:] == (Ellipsis,) and (item := kind_of(arguments[0])).scalar:
        return _list(item)
    if origin is dict and arguments[0] is str and (item := kind_of(arguments[1])).scalar:
        return _mapping(item)
    name = declared.__name__ if isinstance(declared, type) and origin is None else str(declared)
    allowed = "bool, int, float, str, Enum, Literal, tuple[T, ...], dict[str, T] or T | None"
    raise TypeError(f"{name} is no type for an option; use {allowed}")


def _integer(text: str) -> int:
    match = _INTEGER.fullmatch(text)
    if not match:
        raise ValueError(text)
    return int(match[1]) * _SIZES[match[2]]


def _number(text: str) -> float:
    number = float(text)
    if math.isnan(number):
        raise ValueError(text)
    return number


def _choice(values: Mapping[str, Any]) -> Kind:
    texts = {value: text for text, value in values.items()}

    def parse(text: str) -> Any:
        if unquote(text) not in values:
            raise ValueError(text)
        return values[unquote(text)]

    return Kind("one of " + "|".join(values), parse, lambda value: quote(texts[value]))


def _optional(inner: Kind) -> Kind:
    def parse(text: str) -> Any:
        return None if text == "none" else inner.parse(text)

    def show(value: Any) -> str:
        text = "none" if value is None else inner.format(value)
        return '"none"' if text == "none" and value is not None else text

    return Kind(f"{inner.expected}, or none", parse, show, scalar=False)


def _number_or_word(number: Kind, word: Kind) -> Kind:
    def parse(text: str) -> Any:
        try:
            return word.parse(text)
        except ValueError:
            return number.parse(text)

    def show(value: Any) -> str:
        return word.format(value) if isinstance(value, str) else number.format(value)

    return Kind(f"{number.expected}, or {word.expected}", parse, show)


def _list(item: Kind) -> Kind:
    def parse(text: str) -> tuple[Any, ...]:
        return tuple(item.parse(part) for part in _split(text, ",")) if text else ()

    def show(values: Iterable[Any]) -> str:
        return ",".join(map(item.format, values))

    return Kind(f"a list x,y,... where each is {item.expected}", parse, show, scalar=False)


def _mapping(item: Kind) -> Kind:
    def parse(text: str) -> dict[str, Any]:
        pairs = [_split(part, ":") for part in _split(text, ",")] if text else []
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError(text)
        values = {unquote(key): item.parse(value) for key, value in pairs}
        if len(values) != len(pairs):
            raise ValueError(text)
        return values

    def show(values: Mapping[str, Any]) -> str:
        return ",".join(f"{quote(key)}:{item.format(value)}" for key, value in values.items())

    return Kind(f"a list name:value,... where each value is {item.expected}", parse, show, scalar=False)


def _split(text: str, separator: str) -> list[str]:
    """The parts of `text` between separators, those inside quotes aside."""
    parts: list[list[str]] = [[]]
    for piece in _PIECE.findall(text):
        if piece == separator:
            parts.append([])
        else:
            parts[-1].append(piece)
    return ["".join(part) for part in parts]


def _enum_text(member: enum.Enum) -> str:
    return member.value if isinstance(member.value, str) else member.name.lower().replace("_", "-")


def _literal_text(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower()


_SCALARS: dict[Any, Kind] = {
    bool: _choice({"true": True, "false": False}),
    int: Kind("an integer (10, 64KiB, 2MB)", lambda text: _integer(unquote(text)), lambda value: str(int(value))),
    float: Kind("a number", lambda text: _number(unquote(text)), lambda value: repr(float(value))),
    str: Kind("text", unquote, quote),
}
