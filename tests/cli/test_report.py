"""`onnxopt run --report`, `onnxopt report`, `onnxopt diff --html`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onnxopt import ir
from onnxopt.report.inspector.story import story_of_two
from tests.cli.conftest import Command
from tests.passes.checks import parse
from tests.report.inspector.reading import document

_MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 3] x) => (float[N, 3] y) {
    [one] a = Identity(x)
    [two] y = Relu(a)
}
"""


@pytest.fixture
def planted_pass(tmp_path: Path) -> str:
    path = tmp_path / "wreck.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from onnxopt import Pass\n"
        "@dataclass(frozen=True)\n"
        "class Wreck(Pass):\n"
        '    """Say Neg for Relu."""\n'
        "    def run(self, graph, ctx):\n"
        "        graph.nodes[-1].op = 'Neg'\n"
        "        return True\n"
    )
    return str(path)


def test_snapshots_give_the_same_steps(onnxopt: Command, tmp_path: Path) -> None:
    ir.save(parse(_MODEL), tmp_path / "m.onnx")
    assert onnxopt("run", "m.onnx", "-O", "1", "--snapshots", "snaps", "--report", "run.html").code == 0
    assert onnxopt("report", "snaps", "-o", "snaps.html").code == 0
    one, other = (document((tmp_path / name).read_text()) for name in ("run.html", "snaps.html"))
    changed = [step["name"] for step in one["steps"] if step.get("changed", True)]
    assert changed == [step["name"] for step in other["steps"]]
    assert [step["costs"]["nodes"] for step in other["steps"]][-1] == 1


def test_a_run_that_fails_leaves_its_report(onnxopt: Command, tmp_path: Path, planted_pass: str) -> None:
    ir.save(parse(_MODEL), tmp_path / "m.onnx")
    ended = onnxopt(
        "run", "m.onnx", "--plugin", planted_pass, "--passes", "wreck", "--verify-each", "--report", "r.html"
    )
    assert ended.code == 1
    story = document((tmp_path / "r.html").read_text())
    assert "wreck" in story["failed"]
    assert story["steps"][-1]["failed"]


def test_two_models_beside_each_other(onnxopt: Command, tmp_path: Path) -> None:
    ir.save(parse(_MODEL), tmp_path / "a.onnx")
    ir.save(parse(_MODEL.replace("Relu", "Elu")), tmp_path / "b.onnx")
    assert onnxopt("diff", "a.onnx", "b.onnx", "--html", "d.html").code == 0
    story = document((tmp_path / "d.html").read_text())
    assert story == json.loads(json.dumps(story_of_two(tmp_path / "a.onnx", tmp_path / "b.onnx").to_json()))
    assert [len(step["delta"]["changed"]) for step in story["steps"]] == [0, 1]
