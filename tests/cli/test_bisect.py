from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Command


@pytest.mark.parametrize("data", [True, False])
def test_the_rewrite_is_found_and_the_command_shows_it(
    onnxopt: Command, model: Path, plugin: Path, samples: Path, data: bool
) -> None:
    given = ["--plugin", plugin, *(["--data", samples] if data else ["--dim", "N=3"])]
    ended = onnxopt("bisect", model, "-p", "annotate,touch{bad=second},touch", *given)
    assert (ended.code, ended.err) == (0, "")
    told = dict(line.split(None, 1) for line in ended.out.splitlines()[:-1])
    assert told["pass"] == "2, touch{bad=second}"
    assert told["rewrite"] == "3, touched: Relu second"
    words = shlex.split(ended.out.splitlines()[-1].removeprefix("show it  "))
    shown = onnxopt(*words[1:])
    assert shown.code == 1 and told["reason"] in shown.err
    assert words[-2:] == ["--limit", "3"]
    assert onnxopt(*words[1:-1], "2").code == 0


def test_json_has_what_the_text_has(onnxopt: Command, model: Path, plugin: Path) -> None:
    told = onnxopt("bisect", model, "-p", "annotate,raises", "--plugin", plugin, "--target", "onnx", "--json").json()
    assert told["culprit"] == {
        "index": 2,
        "pass": "raises",
        "rewrite": {"pass_name": "raises", "what": "looked", "where": "Neg third"},
        "number": 4,
    }
    assert "KeyError" in told["reason"] and told["runs"] >= 3
    assert "--target onnx" in told["command"]


def test_a_fault_without_the_gate(onnxopt: Command, model: Path, plugin: Path) -> None:
    ended = onnxopt("bisect", model, "-p", "break-ungated", "--plugin", plugin)
    assert "rewrite  none: it breaks the model with every rewrite withheld" in ended.out
    assert "--limit" not in ended.out


def test_nothing_broken(onnxopt: Command, model: Path) -> None:
    assert onnxopt("bisect", model, "-O", "1").out == f"O1 breaks nothing on {model}\n"
    assert onnxopt("bisect", model, "-O", "1", "--json").json() == {"culprit": None}


def test_plugins_of_a_pipeline_file_are_repeated(onnxopt: Command, model: Path, plugin: Path) -> None:
    Path("job.toml").write_text(f'passes = "break-ungated"\nplugins = ["{plugin}"]\n')
    assert f"--plugin {plugin}" in onnxopt("bisect", model, "-p", "job.toml").out
