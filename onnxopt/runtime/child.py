"""Work in a child process, where a vendor's engine may crash, hang, print and leak without harm to us.

The request goes in on the child's standard input, the result comes back on its standard output, both pickled; whatever
the work itself prints, on either stream, ends up in the log. No file is written, and the child ends with its parent.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import IO, Any, NoReturn

from onnxopt.errors import OnnxoptError

_LOG_BYTES = 1 << 16
_GRACE = 5.0
"""Seconds to wait for the end of the log, which a process that left the group may hold open."""
_COMMAND = "import sys; sys.path[:] = {path!r}; from onnxopt.runtime import child; child.serve()"


class ChildFailed(OnnxoptError):
    """The work crashed, raised, took too long, or ended without a result."""

    def __init__(self, message: str, *, log: str = "", signal_name: str | None = None, timed_out: bool = False) -> None:
        super().__init__(message)
        self.log = log
        """The last 64 KiB of what the work printed, its traceback included."""
        self.signal_name = signal_name
        """The signal that killed it, such as SIGSEGV; None when it was not killed, or by us."""
        self.timed_out = timed_out
        """Whether it was stopped because its time was up."""


def run_in_child(target: str, /, *args: Any, timeout: float, memory: int | None = None, **kwargs: Any) -> Any:
    """Call `target(*args, **kwargs)` in a fresh Python and return what it returns.

    The child and everything it started are gone when this returns or raises.

    Args:
        target: `package.module:function`; only the child imports the module. Arguments and result must pickle.
        timeout: seconds, the start of the interpreter included.
        memory: bytes of address space that the child may take; None is no limit. Not enforced on Windows.

    Raises:
        ChildFailed: no result; the text names the signal, the time limit or the exception, the `log` has the rest.
        OnnxoptError: one that the function itself raised, as it was.
    """
    request = pickle.dumps((target, args, kwargs, memory))
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND.format(path=sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin and process.stdout and process.stderr
    answer, log = bytearray(), bytearray()
    workers = [
        threading.Thread(target=_send, args=(process.stdin, request), daemon=True),
        threading.Thread(target=_drain, args=(process.stdout, answer), daemon=True),
        threading.Thread(target=_drain, args=(process.stderr, log, _LOG_BYTES), daemon=True),
    ]
    timed_out = False
    try:
        for worker in workers:
            worker.start()
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        _kill_group(process)
        for worker in workers:
            worker.join(_GRACE)
        with contextlib.suppress(OSError):
            process.stdin.close()
    text = log.decode(errors="replace")
    if answer:  # a whole answer counts even if the interpreter crashed or hung on its way out
        return _unpacked(target, bytes(answer), text)
    if timed_out:
        raise ChildFailed(f"{target} took longer than {timeout:g} s and was stopped", log=text, timed_out=True)
    if process.returncode < 0:
        name = _signal_name(-process.returncode)
        raise ChildFailed(f"{target} was killed by {name}", log=text, signal_name=name)
    raise ChildFailed(f"{target} ended with exit code {process.returncode} and no result", log=text)


def _unpacked(target: str, answer: bytes, log: str) -> Any:
    try:
        ok, value = pickle.loads(answer)
    except Exception as error:  # unpickling runs code of whatever class it is
        raise ChildFailed(f"{target} answered what cannot be read here: {error}", log=log) from error
    if ok:
        return value
    raise value if isinstance(value, OnnxoptError) else ChildFailed(f"{target} raised {value}", log=log)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _send(pipe: IO[bytes], request: bytes) -> None:
    """Write the request and leave the pipe open: its closing is how the child learns that we are gone."""
    with contextlib.suppress(OSError):  # it died before it read this; its exit code says so
        pipe.write(request)
        pipe.flush()


def _drain(pipe: IO[bytes], kept: bytearray, most: int | None = None) -> None:
    """Read to the end, keeping the last `most` bytes."""
    with pipe:
        while chunk := os.read(pipe.fileno(), 1 << 16):
            kept += chunk
            if most is not None:
                del kept[:-most]


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End the child and all that it started: they share its session, and so its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def serve() -> None:
    """The child's side: read one request from standard input, answer it on standard output, end."""
    faulthandler.enable()
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr  # unbuffered enough for the last words before a crash
    with os.fdopen(requests, "rb", closefd=False) as source:
        target, args, kwargs, memory = pickle.load(source)
    threading.Thread(target=_end_with_parent, args=(requests,), daemon=True).start()
    _limit_memory(memory)
    with os.fdopen(answers, "wb") as sink:
        sink.write(_answer(target, args, kwargs))


def _answer(target: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    try:
        module, _, function = target.partition(":")
        return pickle.dumps((True, getattr(importlib.import_module(module), function)(*args, **kwargs)))
    except OnnxoptError as error:
        return pickle.dumps((False, error))
    except BaseException as error:  # noqa: BLE001  whatever a vendor's engine raises; SystemExit too
        sys.excepthook(*sys.exc_info())
        return pickle.dumps((False, f"{type(error).__name__}: {' '.join(str(error).split())}"))


def _limit_memory(limit: int | None) -> None:
    if limit is not None and sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _end_with_parent(requests: int) -> NoReturn:
    os.read(requests, 1)  # returns at end of file only: the parent sends nothing more
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
