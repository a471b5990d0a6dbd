"""Work in a child process: what comes back, and what is left behind when it does not."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from onnxopt.errors import BadData, OnnxoptError
from onnxopt.runtime.child import ChildFailed, run_in_child

LONG = 60  # seconds that no test should need


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module that only the child imports."""
    (tmp_path / "child_work.py").write_text(
        textwrap.dedent(
            """
            import os, signal, subprocess, sys, time

            def add(a, b=0):
                return a + b

            def crash():
                import ctypes
                print("about to crash")
                ctypes.string_at(0)

            def chat(megabytes):
                print("first words")
                for _ in range(megabytes):
                    sys.stdout.write("x" * (1 << 20))
                    os.write(2, b"y" * (1 << 20))
                print("last words")
                return "done"

            def fail():
                raise ValueError("no such\\nlayer")

            def refuse():
                from onnxopt.errors import BadData
                raise BadData("input 'x' is missing")

            def hang_with_grandchild(marker):
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                open(marker, "w").write(f"{os.getpid()} {child.pid}")
                time.sleep(600)

            def leave():
                os._exit(7)

            def crash_on_the_way_out():
                import atexit
                atexit.register(os.kill, os.getpid(), signal.SIGSEGV)
                return "result"

            def allocate(size):
                return len(bytearray(size))
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_returns_the_result(work):
    assert run_in_child("child_work:add", [1], b=[2], timeout=LONG) == [1, 2]


def test_the_parent_does_not_import_the_module(work):
    run_in_child("child_work:add", 1, timeout=LONG)
    assert "child_work" not in sys.modules


def test_large_arguments_and_results_pass(work):
    assert len(run_in_child("child_work:add", b"a" * 10_000_000, b=b"b", timeout=LONG)) == 10_000_001


def test_a_crash_is_named_by_its_signal(work):
    with pytest.raises(ChildFailed, match=r"child_work:crash was killed by SIGSEGV") as failure:
        run_in_child("child_work:crash", timeout=LONG)
    assert failure.value.signal_name == "SIGSEGV"
    assert "about to crash" in failure.value.log
    assert "in crash" in failure.value.log  # the traceback that faulthandler writes


def test_printing_neither_blocks_nor_spoils_the_result(work):
    assert run_in_child("child_work:chat", 4, timeout=LONG) == "done"


def test_the_log_keeps_the_end_of_what_was_printed(work):
    with pytest.raises(ChildFailed) as failure:
        run_in_child("child_work:chat", "no number", timeout=LONG)
    assert "first words" in failure.value.log
    assert len(failure.value.log) <= 1 << 16


def test_an_exception_becomes_one_line_with_its_traceback_in_the_log(work):
    with pytest.raises(ChildFailed, match=r"^child_work:fail raised ValueError: no such layer$") as failure:
        run_in_child("child_work:fail", timeout=LONG)
    assert "Traceback" in failure.value.log


def test_our_own_errors_come_through_as_they_are(work):
    with pytest.raises(BadData, match="input 'x' is missing"):
        run_in_child("child_work:refuse", timeout=LONG)


def test_a_hang_is_stopped_with_all_that_it_started(work):
    marker = work / "pids"
    with pytest.raises(ChildFailed, match=r"took longer than 3 s") as failure:
        run_in_child("child_work:hang_with_grandchild", str(marker), timeout=3)
    assert failure.value.timed_out
    pids = [int(pid) for pid in marker.read_text().split()]
    deadline = time.monotonic() + 10  # the grandchild is init's to reap
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, pids))


def test_ending_without_a_result_is_a_failure(work):
    with pytest.raises(ChildFailed, match="ended with exit code 7 and no result"):
        run_in_child("child_work:leave", timeout=LONG)


def test_a_crash_after_the_result_does_not_lose_it(work):
    assert run_in_child("child_work:crash_on_the_way_out", timeout=LONG) == "result"


@pytest.mark.parametrize("target", ["child_work:nothing", "no_such_module:f", "builtins"])
def test_an_unknown_function_is_a_failure(work, target):
    with pytest.raises(ChildFailed, match=f"{target} raised"):
        run_in_child(target, timeout=LONG)


def test_a_result_that_does_not_pickle_is_a_failure(work):
    with pytest.raises(ChildFailed, match="raised TypeError: cannot pickle"):
        run_in_child("sys:_getframe", timeout=LONG)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is not enforced elsewhere")
def test_memory_can_be_limited(work):
    with pytest.raises(ChildFailed, match="MemoryError"):
        run_in_child("child_work:allocate", 1 << 32, timeout=LONG, memory=1 << 31)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_no_descriptors_are_left_open(work):
    def count():
        return len(list(Path("/proc/self/fd").iterdir()))

    run_in_child("child_work:add", 1, timeout=LONG)
    before = count()
    with pytest.raises(OnnxoptError):
        run_in_child("child_work:crash", timeout=LONG)
    run_in_child("child_work:add", 1, timeout=LONG)
    assert count() == before


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_the_child_ends_with_its_parent(work):
    marker = work / "pids"
    call = f"run_in_child('child_work:hang_with_grandchild', {str(marker)!r}, timeout=600)"
    code = f"import sys; sys.path.insert(0, {str(work)!r}); from onnxopt.runtime.child import run_in_child; {call}"
    parent = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not (marker.exists() and len(marker.read_text().split()) == 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    pids = [int(pid) for pid in marker.read_text().split()]
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, pids))
