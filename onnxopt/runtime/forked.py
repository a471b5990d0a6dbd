"""Work in a copy of this process: what crashes, hangs or edits there leaves this one as it was.

Where `runtime.child` starts a fresh Python (a second of imports) and sends it its work, a fork takes some ten
milliseconds and has everything that this process has, weights and graphs included, without copying it. It suits many
short trials of code of ours and of onnxruntime; a vendor's engine that has threads of its own belongs into a `child`.
This process itself should have no onnxruntime session: all sessions are opened in forks.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import select
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, NoReturn

from onnxopt.errors import OnnxoptError
from onnxopt.runtime.child import ChildFailed

Say = Callable[[str], None]
"""Tells the parent what the work is at, so that it knows where a crash happened."""
_LOG_BYTES = 1 << 16
_GRACE = 5
"""Seconds after which a fork whose parent is gone, and stops it no more, ends itself."""
_SIZE = 8
"""Bytes of the length before each message."""


@dataclass(frozen=True)
class Ended:
    """How the work ended."""

    value: Any
    """What it returned; None where it failed."""
    error: OnnxoptError | None
    """One of ours that it raised, or ChildFailed: it crashed, raised anything else, or took too long."""
    said: str
    """What it said last."""


def run_forked(work: Callable[[Say], Any], timeout: float) -> Ended:
    """Do `work` in a fork of this process; what it returns or raises must pickle. What it prints is its log.

    The fork and every process of its group are gone when this returns.

    Args:
        work: Called with a function that takes what it is at.
        timeout: Seconds.
    """
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as log:
        with warnings.catch_warnings():  # a thread that draws progress bars takes no part in the work
            warnings.simplefilter("ignore", DeprecationWarning)
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
        if pid == 0:
            _work(work, writer, log.fileno(), timeout)
        os.close(writer)
        try:
            answer, timed_out = _read(reader, time.monotonic() + timeout)
        finally:
            os.close(reader)
            status = _end(pid)
        log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
        return _ended(_messages(answer), status, timed_out, timeout, log.read().decode(errors="replace"))


def _work(work: Callable[[Say], Any], writer: int, log: int, timeout: float) -> NoReturn:
    """The fork's side: it never returns, so that nothing of the caller's runs twice."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, timeout + _GRACE)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
        faulthandler.enable(sys.stderr)  # its words go to the log too
        with os.fdopen(writer, "wb", closefd=False) as pipe:
            _send(pipe, _done(work, lambda text: _send(pipe, ("said", text))))
        status = 0
    finally:
        os._exit(status)


def _done(work: Callable[[Say], Any], say: Say) -> tuple[str, Any]:
    try:
        return "value", work(say)
    except OnnxoptError as error:
        return "error", error
    except BaseException as error:  # noqa: BLE001  whatever it is, the parent is told
        sys.excepthook(*sys.exc_info())
        return "raised", f"{type(error).__name__}: {' '.join(str(error).split())}"


def _send(pipe: IO[bytes], message: tuple[str, Any]) -> None:
    data = pickle.dumps(message)
    pipe.write(len(data).to_bytes(_SIZE, "little") + data)
    pipe.flush()


def _read(reader: int, deadline: float) -> tuple[bytes, bool]:
    """All that the fork writes until it ends, and whether it was not done in time."""
    answer = bytearray()
    while (left := deadline - time.monotonic()) > 0:
        if select.select([reader], [], [], left)[0]:
            if not (chunk := os.read(reader, 1 << 20)):
                return bytes(answer), False
            answer += chunk
    return bytes(answer), True


def _end(pid: int) -> int:
    """End the fork's group, if there is any of it left, and return how the fork itself ended, negative for a signal."""
    found, status = os.waitpid(pid, os.WNOHANG)
    deadline = time.monotonic() + 0.2  # it has closed its end, and is about to go: it may still tell how
    while not found and time.monotonic() < deadline:
        time.sleep(0.0005)
        found, status = os.waitpid(pid, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    if not found:
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _messages(answer: bytes) -> list[tuple[str, Any]]:
    found = []
    while len(answer) >= _SIZE:
        size = int.from_bytes(answer[:_SIZE], "little")
        body, answer = answer[_SIZE : _SIZE + size], answer[_SIZE + size :]
        if len(body) == size:
            found.append(pickle.loads(body))
    return found


def _ended(messages: list[tuple[str, Any]], status: int, timed_out: bool, timeout: float, log: str) -> Ended:
    said = next((text for kind, text in reversed(messages) if kind == "said"), "")
    kind, value = messages[-1] if messages else ("", None)
    if kind == "value":
        return Ended(value, None, said)
    if kind == "error":
        return Ended(None, value, said)
    if kind == "raised":
        return Ended(None, ChildFailed(f"it raised {value}", log=log), said)
    if timed_out:
        return Ended(None, ChildFailed(f"it took longer than {timeout:g} s", log=log, timed_out=True), said)
    if status < 0:
        name = _signal_name(-status)
        return Ended(None, ChildFailed(f"the process was killed by {name}", log=log, signal_name=name), said)
    return Ended(None, ChildFailed(f"the process ended with status {status}", log=log), said)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
