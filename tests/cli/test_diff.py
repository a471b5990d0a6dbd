from __future__ import annotations

from pathlib import Path

import onnx

from tests.cli.conftest import Command
from tests.pipeline import planted


def other() -> str:
    onnx.save(planted.model(planted.MODEL.replace("Tanh", "Sigmoid").replace("{1, 2,", "{1, 3,")), "other.onnx")
    return "other.onnx"


def test_equal_models(onnxopt: Command, model: Path) -> None:
    ended = onnxopt("diff", model, model, "--exit-code")
    assert (ended.code, ended.out, ended.err) == (0, "no difference\n", "")
    assert onnxopt("diff", model, model, "--json").json()["equal"] is True


def test_a_listing_names_nodes_and_weights(onnxopt: Command, model: Path) -> None:
    ended = onnxopt("diff", model, other())
    assert ended.code == 0
    assert "Sigmoid" in ended.out and "weight" in ended.out and "\n\n" not in ended.out


def test_the_unified_diff_of_the_texts(onnxopt: Command, model: Path) -> None:
    lines = onnxopt("diff", model, other(), "--text").out.splitlines()
    assert lines[0].startswith("@@ -")
    assert any(line.startswith("-") and "Tanh" in line for line in lines)
    assert any(line.startswith("+") and "Sigmoid" in line for line in lines)


def test_exit_code_1_where_asked(onnxopt: Command, model: Path) -> None:
    ended = onnxopt("diff", model, other(), "--json", "--exit-code")
    assert ended.code == 1 and ended.json()["equal"] is False and ended.err == ""
