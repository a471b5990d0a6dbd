"""The text of a pipeline, without meaning: `element := NAME options? ("(" pipeline ")")?`, separated by commas.

Options are `{key=value flag}`, separated by white space. A list value is `a,b`; a value with a space, a brace or an `=`
goes in double quotes. White space and line ends are free between all other tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

from onnxopt.errors import BadPipeline
from onnxopt.pipeline.values import QUOTED

NAME = re.compile(r"[^\W\d][\w-]*")
_VALUE = re.compile(rf'(?:{QUOTED}|[^\s{{}}"=])*', re.DOTALL)
_DEPTH = 32
_LEAD, _WIDTH = 60, 100

Span = tuple[int, int]
"""Where something stands in the text: offset of its first character, and of the one after its last."""


@dataclass(frozen=True)
class OptionText:
    """`key=value`, or a flag whose value is None. The value is as written, quotes included."""

    key: str
    value: str | None
    key_at: Span = field(default=(0, 0), compare=False, repr=False)
    value_at: Span = field(default=(0, 0), compare=False, repr=False)

    def __str__(self) -> str:
        return self.key if self.value is None else f"{self.key}={self.value}"


@dataclass(frozen=True)
class Element:
    """One name with its options and, where it has parentheses, the elements in them."""

    name: str
    options: tuple[OptionText, ...] = ()
    body: tuple[Element, ...] | None = None
    name_at: Span = field(default=(0, 0), compare=False, repr=False)
    body_at: Span = field(default=(0, 0), compare=False, repr=False)

    def __str__(self) -> str:
        options = "{" + " ".join(map(str, self.options)) + "}" if self.options else ""
        body = "" if self.body is None else f"({to_text(self.body)})"
        return self.name + options + body


def parse(text: str) -> tuple[Element, ...]:
    """The elements of a pipeline text, at least one; BadPipeline with a caret under the place where it is none."""
    parser = _Parser(text)
    elements = parser.pipeline(depth=0)
    parser.expect_end()
    return elements


def to_text(elements: tuple[Element, ...]) -> str:
    """The text that `parse` reads as `elements`."""
    return ",".join(map(str, elements))


def bad_pipeline(message: str, text: str, at: Span) -> BadPipeline:
    """An error of three lines: the message, the line of `text` that it is about, and carets under the place.

    A long line is cut round the place, so that the carets stay under it in a terminal.
    """
    start, end = at
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", start)
    last = len(text) if last < 0 else last
    left = max(first, start - _LEAD)
    right = min(last, left + _WIDTH)
    before, after = "..." * (left > first), "..." * (right < last)
    shown = "".join(c if c.isprintable() else " " for c in text[left:right])
    carets = " " * (len(before) + start - left) + "^" * max(1, min(end, right) - start)
    return BadPipeline(f"{message}\n    {before}{shown}{after}\n    {carets}")


class _Parser:
    """Recursive descent; `at` is the offset of the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def pipeline(self, depth: int) -> tuple[Element, ...]:
        elements = [self.element(depth)]
        while self.take(","):
            elements.append(self.element(depth))
        return tuple(elements)

    def element(self, depth: int) -> Element:
        name, name_at = self.name("the name of a pass is missing here")
        options = self.options() if self.peek() == "{" else ()
        if self.peek() != "(":
            return Element(name, options, None, name_at)
        opened = self.at
        if depth == _DEPTH:
            self.fail(f"pipelines are nested more than {_DEPTH} deep", opened)
        self.take("(")
        body = self.pipeline(depth + 1)
        if not self.take(")"):
            self.unexpected(opened)
        return Element(name, options, body, name_at, (opened, self.at))

    def options(self) -> tuple[OptionText, ...]:
        opened = self.at
        self.take("{")
        options: dict[str, OptionText] = {}
        while not self.take("}"):
            if not self.peek():
                self.fail("this { is never closed", opened)
            option = self.option()
            if options.setdefault(option.key.replace("_", "-"), option) is not option:
                self.fail(f"option {option.key} is given twice", *option.key_at)
        return tuple(options.values())

    def option(self) -> OptionText:
        key, key_at = self.name("the name of an option is missing here; write {key=value key=value}")
        if self.text[self.at : self.at + 1] != "=":
            if self.text[self.at : self.at + 1] not in ("", "}") and not self.text[self.at].isspace():
                self.fail("white space goes between options, and = before a value", self.at)
            return OptionText(key, None, key_at)
        start = self.at + 1
        match = _VALUE.match(self.text, start)
        value = match[0] if match else ""
        self.at = start + len(value)
        stop = self.text[self.at : self.at + 1]
        if stop == "=" or value.endswith(","):
            self.fail(
                "options are separated by white space, not commas; quote a value that has an =", self.at - (stop != "=")
            )
        if stop == "{":
            self.fail('a value with a brace goes in double quotes: "{"', self.at)
        if stop == '"':
            self.fail("this quote is never closed", self.at)
        return OptionText(key, value, key_at, (start, self.at))

    def name(self, missing: str) -> tuple[str, Span]:
        self.peek()
        match = NAME.match(self.text, self.at)
        if not match:
            self.fail(missing, self.at)
        self.at = match.end()
        return match[0], match.span()

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def take(self, character: str) -> bool:
        found = self.peek() == character
        self.at += found
        return found

    def expect_end(self) -> None:
        if self.peek():
            self.unexpected()

    def unexpected(self, opened: int | None = None) -> NoReturn:
        """Say why no element can end here, `opened` being the parenthesis that encloses it."""
        found = self.peek()
        if not found and opened is not None:
            self.fail("this ( is never closed", opened)
        if found == ")":
            self.fail("this ) closes nothing", self.at)
        if found == "=":
            self.fail("options go in braces: name{key=value}", self.at)
        if found == "}":
            self.fail("this } closes nothing", self.at)
        self.fail("a comma is missing before this", self.at)

    def fail(self, message: str, start: int, end: int | None = None) -> NoReturn:
        raise bad_pipeline(message, self.text, (start, start + 1 if end is None else end))
