"""Whether Qualcomm's libraries are here."""

from __future__ import annotations

import functools
import importlib.util
import platform
import sys

from onnxopt.errors import BadOption

PACKAGE = "onnxruntime-qnn"
_MACHINES = ("x86_64", "AMD64")
_OLDEST = (3, 11)


@functools.cache
def missing() -> str:
    """Why the target cannot be written here, and the remedy, in one line; empty where it can."""
    if sys.version_info < _OLDEST:
        here = ".".join(map(str, sys.version_info[:2]))
        return f"qnn needs {PACKAGE}, which needs Python 3.11 or newer, and this is {here}: use a newer Python"
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return (
            f"qnn is written, and its emulator runs, on x86-64 Linux, and this is {sys.platform} on "
            f"{platform.machine()}: run it there"
        )
    if importlib.util.find_spec("onnxruntime_qnn") is None:
        return f"qnn needs {PACKAGE}, which is not installed: pip install 'onnxopt[qnn]' (Qualcomm's terms apply)"
    return ""


def require_installed() -> None:
    """Refuse to go on without the libraries.

    Raises:
        BadOption: They are not installed, or are not for this Python or this machine.
    """
    if why := missing():
        raise BadOption(why)
