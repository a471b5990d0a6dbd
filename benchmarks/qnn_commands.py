"""Runs `onnxopt` as a user does, and remembers how."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/'\"=]+/)+")


class Commands:
    """Runs `onnxopt`, and remembers how it was called."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        told = _FOLDERS.sub("", shlex.join(["onnxopt", *map(str, words)]))
        self.lines.append(told)  # without folders, which are of this machine
        return subprocess.run(
            [sys.executable, "-m", "onnxopt", *map(str, words)], capture_output=True, text=True, check=False
        )


def said(ran: subprocess.CompletedProcess[str]) -> str:
    """The error that a command ended with, in one line."""
    lines = [line for line in ran.stderr.splitlines() if line.startswith("onnxopt: ")]
    return lines[0].removeprefix("onnxopt: ") if lines else f"exit status {ran.returncode}"
