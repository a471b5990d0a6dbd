"""The command as a process: what it imports, how it ends, what it writes to pipes and terminals."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import onnx
import pytest

from tests.cli.conftest import Command
from tests.pipeline import planted

ONNXOPT = [sys.executable, "-m", "onnxopt"]
COMMANDS = ["run", "passes", "backends", "inspect", "diff", "verify", "bisect"]


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["bisect", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['onnxopt', *{words}]\n"
        "from onnxopt.cli.app import main\n"
        "try:\n    main()\n"
        "except SystemExit as ended:\n    assert not ended.code\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'onnx_graphsurgeon', 'networkx'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_names_every_command_and_exit_status(onnxopt: Command) -> None:
    ended = onnxopt("--help")
    assert (ended.code, ended.err) == (0, "")
    for name in COMMANDS:
        assert f" {name} " in ended.out
    assert "0 done, 1 a check failed, 2 wrong use" in ended.out
    assert onnxopt().out == ended.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(onnxopt: Command, name: str) -> None:
    ended = onnxopt(name, "-h")
    assert ended.code == 0 and f"onnxopt {name}" in ended.out


def test_version(onnxopt: Command) -> None:
    from importlib.metadata import version

    assert onnxopt("--version").out == f"onnxopt {version('onnxopt')}\n"


SLOW = """
import time
from dataclasses import dataclass
from onnxopt import Pass

@dataclass(frozen=True)
class Slow(Pass):
    '''Takes its time.'''

    def run(self, graph, ctx):
        for step in ctx.progress(range(600), "steps", 600):
            print("working", flush=True)
            time.sleep(0.05)
        return False
"""


def test_an_interrupt_ends_in_130_and_leaves_everything_whole(model: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "out.onnx").write_bytes(b"previous")
    before = sorted(path.name for path in tmp_path.iterdir())
    process = subprocess.Popen(
        [*ONNXOPT, "run", model, "-p", "slow", "--plugin", "slow.py", "-o", "out.onnx"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "onnxopt: interrupted\n")
    assert (tmp_path / "out.onnx").read_bytes() == b"previous"
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_reader_that_has_enough_is_no_error(model: Path) -> None:
    process = subprocess.Popen([*ONNXOPT, "inspect", model, "--text"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


def test_an_encoding_without_the_characters_is_no_error(model: Path) -> None:
    named = planted.model()
    named.graph.name = "schön☃"
    onnx.save(named, model)
    for words in (["inspect", model], ["run", model, "-O1", "--timing"], ["inspect", model, "--text"], ["--help"]):
        ended = subprocess.run(
            [*ONNXOPT, *words], env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        (ended.stdout + ended.stderr).decode("ascii")


def in_terminal(words: list[str | Path], columns: int, folder: Path) -> str:
    """What a process writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        list(map(str, words)),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**environment, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    written = bytearray()
    with contextlib.suppress(OSError):  # Linux's way of saying that the other end is closed
        while chunk := os.read(ours, 1 << 16):
            written += chunk
    os.close(ours)
    assert process.wait(60) == 0, written.decode()
    return written.decode()


def plain(text: str) -> list[str]:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "").split("\n")


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_the_tables_fit_the_terminal(model: Path, samples: Path, tmp_path: Path, columns: int) -> None:
    words = ["run", model, "-p", "fold-constants,eliminate-dead-nodes", "--data", samples, "--timing", "--verify-each"]
    text = in_terminal([*ONNXOPT, *words], columns, tmp_path)
    lines = plain(text)
    assert "\x1b[" in text, "a terminal gets colours"
    assert max(map(len, lines)) <= min(columns, 100)
    assert any(re.search(r"MACs +difference", line) for line in lines)
    for told in ("before", "after", "change", "nodes", "MACs", "largest output difference", "fold-constants"):
        assert any(told in line for line in lines), told


def test_a_bar_shows_after_a_second_and_vanishes(model: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW.replace("600", "40"))
    text = in_terminal([*ONNXOPT, "run", model, "-p", "slow", "--plugin", "slow.py"], 100, tmp_path)
    assert "1 slow" in text and "steps" in text
    assert "\x1b[?25l" in text and "\x1b[?25h" in text, "the cursor is hidden and comes back"


def test_what_is_printed_to_a_pipe_is_not_sent_to_the_terminal(model: Path, tmp_path: Path, plugin: Path) -> None:
    """stdout is a pipe, stderr the terminal with a live bar: the text must arrive in the pipe, whole."""
    (tmp_path / "slow.py").write_text(SLOW.replace("600", "40").replace('print("working", flush=True)', "pass"))
    words = f"run {model} -p slow,annotate --plugin slow.py --plugin {plugin} --print-after annotate"
    (tmp_path / "go.sh").write_text(f"{sys.executable} -m onnxopt {words} > printed.txt\n")
    text = in_terminal(["sh", "go.sh"], 100, tmp_path)
    assert "1 slow" in text and "// after 2 annotate" not in text
    assert (tmp_path / "printed.txt").read_text().startswith("// after 2 annotate\n<")
