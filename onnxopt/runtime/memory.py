"""How much memory a model takes: in a process of its own, which does nothing but load it and run it."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxopt.data.spec import Feeds
from onnxopt.runtime.child import run_in_child
from onnxopt.runtime.session import NotRunnable, session_options, to_ort

_TIMEOUT = 600.0
_RUNS = 3
"""onnxruntime plans its memory in the first run, and has all of it in the second."""


@dataclass(frozen=True)
class Memory:
    """Bytes that were resident; files that were mapped count, as the system counts them."""

    peak: int
    """The most that the process ever had."""
    before: int
    """What it had before the model came: Python, numpy, onnxruntime."""

    @property
    def added(self) -> int:
        """What loading and running the model took at its highest."""
        return self.peak - self.before


def peak_memory(model: Path, feeds: Sequence[Feeds], *, optimize: bool = True, threads: int = 1) -> Memory:
    """Load a model and run it, in a process of its own.

    Args:
        model: Its file.
        feeds: What to run it on.
        optimize: Whether onnxruntime may rewrite the graph, as for `Session`.
        threads: As for `Session`.

    Raises:
        NotRunnable: onnxruntime refuses the model or the inputs.
        ChildFailed: The process ended otherwise.
    """
    found: Memory = run_in_child(
        "onnxopt.runtime.memory:measure_here", model, list(feeds), optimize, threads, timeout=_TIMEOUT
    )
    return found


def measure_here(model: Path, feeds: Sequence[Feeds], optimize: bool, threads: int) -> Memory:
    """The child's side: onnxruntime reads the file itself, so that no other copy of the weights counts.

    Raises:
        NotRunnable: As `peak_memory`.
    """
    import onnxruntime as ort

    boxes = [{name: to_ort(value) for name, value in fed.items()} for fed in feeds]
    before = _resident("VmRSS")
    try:
        session = ort.InferenceSession(
            str(model), session_options(optimize=optimize, threads=threads), providers=["CPUExecutionProvider"]
        )
        for _ in range(_RUNS):
            for box in boxes:
                session.run(None, box)
    except Exception as error:  # its classes have no common base
        raise NotRunnable(f"{model}: onnxruntime cannot run it: {' '.join(str(error).split())}") from error
    return Memory(max(_resident("VmHWM"), before), before)


def _resident(field: str) -> int:
    """Bytes, now (VmRSS) or at most so far (VmHWM).

    `getrusage` would count what the parent had when it forked; /proc counts this program alone.
    """
    status = Path("/proc/self/status")
    if status.is_file() and (match := re.search(rf"^{field}:\s*(\d+) kB", status.read_text(), re.MULTILINE)):
        return 1024 * int(match[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
