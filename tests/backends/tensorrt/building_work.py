"""What tests do in a child in place of `vendor.build`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from onnxopt.backends.tensorrt.wanted import Built, Wanted


def hang(folder: str, wanted: Wanted) -> Built:
    """Leaves half of an engine, and never ends."""
    place = Path(folder)
    (place / "stage").write_text("building")
    (place / "engine").write_bytes(b"half")
    time.sleep(600)
    return Built()


def tell_and_end(folder: str, wanted: Wanted) -> Built:
    """Tells how far it is, and ends without an engine."""
    place = Path(folder)
    (place / "stage").write_text("building")
    (place / "progress").write_text("3 7 Timing tactics")
    time.sleep(1)  # the parent looks ten times a second
    return Built()


def crash(folder: str, wanted: Wanted) -> Built:
    """Ends as a fault in the builder does."""
    (Path(folder) / "stage").write_text("building")
    os.kill(os.getpid(), signal.SIGSEGV)
    return Built()


def imported_with_us() -> bool:
    """Whether NVIDIA's package comes with our modules, other than the child's side of them."""
    import onnxopt.backends.tensorrt.evaluating
    import onnxopt.backends.tensorrt.writing
    import onnxopt.engine  # noqa: F401

    return any(name in sys.modules for name in ("tensorrt", "tensorrt_rtx"))
