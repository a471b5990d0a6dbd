"""Where things are printed: results on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_MARKED = {"+": "green", "-": "red", "~": "yellow", "@": "cyan", "/": "bold"}
"""Colours of the lines of a diff, and of the headings `// changed by`."""
_WIDTH = 100
"""Columns where the output is no terminal."""


def console(*, to_stderr: bool) -> Console:
    """As wide as the terminal, or 100 columns; what stands in brackets in a name is no markup."""
    from rich.console import Console

    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH
    return Console(stderr=to_stderr, width=width, highlight=False, markup=False, emoji=False)


def print_view(*parts: RenderableType) -> None:
    """Tables on stdout: results."""
    _print(parts, to_stderr=False)


def tell_view(*parts: RenderableType) -> None:
    """Tables on stderr: what goes along with a result."""
    _print(parts, to_stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    from onnxopt import strict_json

    print_text(strict_json.dumps(value))


def print_text(text: str) -> None:
    """Plain lines on stdout."""
    _write(sys.stdout, text if text.endswith("\n") else text + "\n")


def tell_text(text: str) -> None:
    """Plain lines on stderr."""
    _write(sys.stderr, text if text.endswith("\n") else text + "\n")


def print_changes(text: str, *, to_stderr: bool = False) -> None:
    """Lines of which some begin with `+`, `-`, `~` or `@`: coloured by that on a terminal."""
    from rich.text import Text

    out = console(to_stderr=to_stderr)
    if not out.is_terminal or out.no_color:
        (tell_text if to_stderr else print_text)(text)
        return
    with out.capture() as captured:
        for line in text.removesuffix("\n").split("\n"):
            out.print(Text(line, _MARKED.get(line[:1], "")), soft_wrap=True)
    _write(sys.stderr if to_stderr else sys.stdout, captured.get())


def warn(lines: Sequence[str]) -> None:
    """One line each on stderr."""
    from rich.text import Text

    for line in lines:
        _tell_line(Text("warning: ", "yellow").append(line, "default"))


def note(line: str) -> None:
    """One line on stderr that nobody needs to read twice."""
    from rich.text import Text

    _tell_line(Text(line, "dim"))


def _tell_line(line: Text) -> None:
    out = console(to_stderr=True)
    with out.capture() as captured:
        out.print(line, soft_wrap=True)
    _write(sys.stderr, captured.get())


def _print(parts: Sequence[RenderableType], *, to_stderr: bool) -> None:
    out = console(to_stderr=to_stderr)
    with out.capture() as captured:
        for part in parts:
            out.print(part)
    text = captured.get()
    if not out.is_terminal:  # cells are filled up with spaces, which a file or a diff need not have
        text = "".join(f"{line.rstrip()}\n" for line in text.removesuffix("\n").split("\n"))
    _write(sys.stderr if to_stderr else sys.stdout, text)


def _write(stream: TextIO, text: str) -> None:
    """Write at once. A reader that has enough, as `head` has, is no reason to leave the work undone."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
