from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from onnxopt.errors import BadData
from onnxopt.runtime.child import ChildFailed
from onnxopt.runtime.forked import run_forked


def test_the_value_comes_back_and_edits_do_not() -> None:
    here = [1]
    ended = run_forked(lambda say: here.append(2) or list(here), 10)
    assert (ended.value, ended.error, here) == ([1, 2], None, [1])


def test_large_values_come_back_whole() -> None:
    assert run_forked(lambda say: bytes(5_000_000), 10).value == bytes(5_000_000)


def test_a_crash_is_told_by_its_signal_and_by_what_was_said_last() -> None:
    def work(say):
        say("first")
        say("second")
        os.abort()

    ended = run_forked(work, 10)
    assert isinstance(ended.error, ChildFailed)
    assert (ended.error.signal_name, ended.said, str(ended.error)) == (
        "SIGABRT",
        "second",
        "the process was killed by SIGABRT",
    )


def test_an_end_without_an_answer_is_told_by_its_status() -> None:
    assert str(run_forked(lambda say: os._exit(7), 10).error) == "the process ended with status 7"


def test_an_error_of_ours_comes_back_as_it_was() -> None:
    def work(say):
        raise BadData("no such input")

    error = run_forked(work, 10).error
    assert type(error) is BadData and str(error) == "no such input"


@pytest.mark.parametrize("error", [KeyError("gone"), SystemExit(3)])
def test_any_other_exception_is_told_and_its_traceback_is_in_the_log(error) -> None:
    def work(say):
        print("on the way")
        raise error

    found = run_forked(work, 10).error
    assert isinstance(found, ChildFailed)
    assert str(found).startswith(f"it raised {type(error).__name__}: ")
    assert "on the way" in found.log and "Traceback" in found.log


def test_what_is_printed_stays_in_the_log(capfd) -> None:
    run_forked(lambda say: os.system("echo loud"), 10)
    assert capfd.readouterr() == ("", "")


def test_what_takes_too_long_is_stopped_with_all_that_it_started() -> None:
    def work(say):
        say(str(subprocess.Popen(["sleep", "600"]).pid))
        time.sleep(600)

    began = time.monotonic()
    ended = run_forked(work, 0.5)
    assert time.monotonic() - began < 30
    assert isinstance(ended.error, ChildFailed) and ended.error.timed_out
    assert str(ended.error) == "it took longer than 0.5 s"
    for _ in range(100):
        if not _is_running(int(ended.said)):
            return
        time.sleep(0.05)
    raise AssertionError("its child is still there")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_an_interrupt_ends_the_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(signum, frame):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            run_forked(lambda say: time.sleep(600), 60)
    finally:
        signal.signal(signal.SIGALRM, old)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
