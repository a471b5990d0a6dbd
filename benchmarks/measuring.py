"""Time and memory of other processes, in a way that a busy machine upsets little: interleaved rounds, and ratios."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "fixtures"
Key = TypeVar("Key", bound=object)
_SCRIPT = Path(sys.executable).with_name("onnxopt")
ONNXOPT: tuple[str, ...] = (str(_SCRIPT),) if _SCRIPT.exists() else (sys.executable, "-m", "onnxopt")
"""The command as a user starts it."""

_LAUNCHER = """
import json, os, resource, sys, time
report, command = int(sys.argv[1]), sys.argv[2:]
start = time.perf_counter()
child = os.posix_spawnp(command[0], command, os.environ)
status, usage = os.wait4(child, 0)[1:]
seconds = time.perf_counter() - start
unit = 1 if sys.platform == "darwin" else 1024
code = os.waitstatus_to_exitcode(status)
os.write(report, json.dumps([seconds, usage.ru_maxrss * unit, usage.ru_utime + usage.ru_stime, code]).encode())
"""


@dataclass(frozen=True)
class Finished:
    """A process that ended."""

    seconds: float
    """Wall time from its start to its end."""
    peak_rss: int
    """Most bytes of memory that it, or any one process that it started, had resident; mapped files count."""
    cpu_seconds: float
    """Processor time, of the kernel too."""
    returncode: int
    """Its exit status, or the negative number of the signal that ended it."""
    stdout: str
    stderr: str

    def require_success(self) -> Finished:
        """This, or the end of the benchmark with what the process said last."""
        if self.returncode != 0:
            last = "\n".join((self.stderr or self.stdout).strip().splitlines()[-15:])
            sys.exit(f"the measured process ended with {self.returncode}:\n{last}")
        return self


def run_measured(command: Sequence[object], *, cwd: Path | None = None, timeout: float | None = None) -> Finished:
    """Run a command to its end.

    A launcher of a few megabytes starts it: Linux counts towards a process's peak what its parent had resident when
    it was forked.

    Raises:
        subprocess.TimeoutExpired: It took longer than `timeout` seconds, and was killed.
    """
    reader, writer = os.pipe()
    launcher = [sys.executable, "-S", "-c", _LAUNCHER, str(writer), *map(str, command)]
    process = subprocess.Popen(
        launcher,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=cwd,
        pass_fds=[writer],
        start_new_session=True,
    )
    os.close(writer)
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except BaseException:
        os.killpg(process.pid, 9)
        process.wait()
        raise
    finally:
        with os.fdopen(reader, "rb") as pipe:
            report = pipe.read()
    if not report:
        sys.exit(f"could not start {command[0]}: {stderr.strip()}")
    seconds, peak, cpu, code = json.loads(report)
    return Finished(seconds, peak, cpu, code, stdout, stderr)


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def show(self, unit: str = "s", digits: int = 2) -> str:
        """`median unit (lowest..highest)`."""
        low, high = min(self.values), max(self.values)
        return f"{self.median:.{digits}f}{unit and ' ' + unit} ({low:.{digits}f}..{high:.{digits}f})"

    def to_json(self) -> dict[str, Any]:
        """The median and all values."""
        return {"median": self.median, "values": list(self.values)}


def interleaved(
    tasks: Mapping[Key, Callable[[], float]], rounds: int, tick: Callable[[str], None] = lambda line: None
) -> dict[Key, Spread]:
    """Run every task once a round, so that what disturbs one disturbs its neighbours too; what each returned."""
    found: dict[Key, list[float]] = {name: [] for name in tasks}
    for number in range(rounds):
        for name, task in tasks.items():
            tick(f"round {number + 1} of {rounds}: {name}")
            found[name].append(task())
    return {name: Spread(tuple(values)) for name, values in found.items()}


def ratio(one: Spread, other: Spread) -> Spread:
    """Round by round, how many times `other` the measurement `one` is."""
    return Spread(tuple(a / b for a, b in zip(one.values, other.values, strict=True)))
