from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.conftest import Command
from tests.pipeline.reduction import faults

FAULTS = Path(faults.__file__)


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Twelve nodes in a row."""
    path = tmp_path / "long.onnx"
    onnx.save(faults.chain(12), path)
    return path


def test_what_is_left_is_written_and_the_command_shows_the_failure(onnxopt: Command, long: Path) -> None:
    ended = onnxopt("reduce", long, "-p", "harmless,swaps", "--plugin", FAULTS, "--dim", "N=2")
    assert (ended.code, ended.err) == (0, "")
    told = dict(line.split(None, 1) for line in ended.out.splitlines())
    assert told["failure"].startswith("pass 1, swaps, broke output 't6'")
    assert (told["passes"], told["nodes"]) == ("1 of 2: swaps", "1 of 12")
    assert told["wrote"] == "long.reduced.onnx, long.reduced.npz"
    assert [node.name for node in onnx.load("long.reduced.onnx").graph.node] == ["n5"]
    assert np.load("long.reduced.npz")["t5"].shape == (1, 2, 3)
    command = ended.out.splitlines()[-1].removeprefix("show it  ")
    assert "--data long.reduced.npz --verify-each" in command
    shown = onnxopt(*shlex.split(command)[1:])
    assert shown.code == 1 and told["failure"] in shown.err


def test_of_a_pass_that_raises_the_command_needs_no_data(onnxopt: Command, long: Path) -> None:
    found = onnxopt("reduce", long, "-p", "leaves,harmless,trips-over", "--plugin", FAULTS, "--json").json()
    assert found["failure"]["kind"] == "a pass raises" and found["failure"]["where"] == "trips-over"
    assert (found["passes"], found["passes_before"], found["passes_left"]) == ("leaves,trips-over", 3, 2)
    assert (found["nodes_before"], found["nodes_left"], found["minimal"], found["confirmed"]) == (12, 1, True, True)
    assert "--data" not in found["command"]
    shown = onnxopt(*shlex.split(found["command"])[1:])
    assert shown.code == 3 and "RuntimeError: stumbled" in shown.err


def test_with_a_command_the_command_is_what_shows_it(onnxopt: Command, long: Path) -> None:
    check = "! grep -q n5 {model} || exit 9"
    found = onnxopt("reduce", long, "--check", check, "-o", "small one.onnx", "--json").json()
    assert found["failure"]["what"] == "exit status 9" and found["passes"] is None
    assert found["command"] == "! grep -q n5 'small one.onnx' || exit 9"
    assert subprocess.run(found["command"], shell=True, check=False).returncode == 9


def test_with_a_command_and_passes_both_are_in_it(onnxopt: Command, long: Path) -> None:
    found = onnxopt("reduce", long, "-p", "swaps", "--plugin", FAULTS, "--check", "! grep -q Exp", "--json").json()
    assert found["command"].startswith("onnxopt run long.reduced.onnx --passes swaps --plugin ")
    assert found["command"].endswith(" -o long.reduced.passed.onnx && ! grep -q Exp long.reduced.passed.onnx")


def test_the_data_and_the_target_reach_the_passes(onnxopt: Command, long: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", t0=np.ones((4, 3), np.float32))
    given = ["--plugin", FAULTS, "--data", "data.npz", "--target", "onnx"]
    command = onnxopt("reduce", long, "-p", "kills", *given, "--json").json()["command"]
    assert "--target onnx" in command and command.endswith("--data long.reduced.npz --no-verify")


def test_where_nothing_fails_nothing_is_written(onnxopt: Command, long: Path) -> None:
    ended = onnxopt("reduce", long, "-p", "harmless", "--plugin", FAULTS)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"onnxopt: `harmless` does not fail on {long}: there is nothing to reduce\n"
    assert not Path("long.reduced.onnx").exists()


def test_when_the_time_is_up_it_is_told(onnxopt: Command, long: Path) -> None:
    ended = onnxopt("reduce", long, "-p", "swaps", "--plugin", FAULTS, "--max-seconds", "0")
    assert ended.code == 0 and "left     the time was up" in ended.out and "nodes    12 of 12" in ended.out


def test_weights_beside_the_model_stay_beside_it(onnxopt: Command, tmp_path: Path) -> None:
    model = faults.parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        m (float[2, 64] x) => (float[2, 64] y) { a = MatMul(x, v) [n5] b = MatMul(a, w) y = Neg(b) }""")
    faults.with_weights(model, v=np.ones((64, 64), np.float32), w=np.ones((64, 64), np.float32))
    onnx.save(model, tmp_path / "heavy.onnx", save_as_external_data=True, location="heavy.data", size_threshold=0)
    found = onnxopt("reduce", "heavy.onnx", "-p", "trips-over,leaves,trips-over", "--plugin", FAULTS, "--json").json()
    assert (found["passes"], found["nodes_left"], found["confirmed"]) == ("leaves,trips-over", 1, True)
    assert [path.stat().st_size for path in tmp_path.glob("heavy.reduced.onnx.data")] == [64 * 64 * 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the passes with either --passes or -O"),
        (["-p", "harmless", "-o", "long.onnx"], "-o long.onnx is the model itself"),
        (["--check", "true", "--plugin", FAULTS], "--plugin does nothing without --passes"),
        (["--check", "no-such-command"], "--check 'no-such-command' cannot be run: the shell ended with 127"),
        (["-p", "harmless", "-o", "gone/x.onnx"], "cannot write gone/x.onnx: there is no folder gone"),
    ],
)
def test_wrong_use(onnxopt: Command, long: Path, arguments: list[str | Path], message: str) -> None:
    plugin = ["--plugin", FAULTS] if "-p" in arguments else []
    ended = onnxopt("reduce", long, *arguments, *plugin)
    assert (ended.code, ended.out, ended.err) == (2, "", f"onnxopt: {message}\n")


def test_the_help_tells_the_exit_status_and_what_a_failure_is(onnxopt: Command) -> None:
    told = onnxopt("reduce", "--help").out
    for words in ("Exit status: 0 reduced, 1 the model does not fail", "--check", "--max-seconds", "same kind"):
        assert words in told
