"""Where things are printed: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 100
"""Columns where the output is no terminal."""


def stdout() -> Console:
    """For results."""
    return _console(to_stderr=False)


def stderr() -> Console:
    """For tables that go along with a result, warnings and errors."""
    return _console(to_stderr=True)


def _console(*, to_stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if to_stderr else sys.stdout
    return Console(stderr=to_stderr, width=None if stream.isatty() else _WIDTH, highlight=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_text(text: str) -> None:
    """Plain lines on stdout."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def print_plain(text: str) -> None:
    """Plain lines on stderr."""
    sys.stderr.write(text if text.endswith("\n") else text + "\n")


def warn(lines: list[str]) -> None:
    """One line each on stderr."""
    from rich.markup import escape

    for line in lines:
        stderr().print(f"[yellow]warning:[/yellow] {escape(line)}", soft_wrap=True)
