from __future__ import annotations

from pathlib import Path

import pytest

from onnxopt.pipeline.presets import PRESETS
from onnxopt.pipeline.registry import Registry
from tests.cli.conftest import Command


def test_every_pass_and_preset_is_listed(onnxopt: Command) -> None:
    ended = onnxopt("passes")
    assert (ended.code, ended.err) == (0, "")
    for name in (*Registry.installed().names(), *PRESETS):
        assert f"\n{name} " in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100


def test_json_of_all(onnxopt: Command) -> None:
    told = onnxopt("passes", "--json").json()
    assert [entry["name"] for entry in told["passes"]] == list(Registry.installed().names())
    assert all(entry["doc"] for entry in told["passes"])
    assert [entry["name"] for entry in told["presets"]] == list(PRESETS)
    assert told["presets"][1]["expanded"].startswith("infer-types,repeat{max=4}(fold-constants,")


def test_one_pass_with_its_options(onnxopt: Command) -> None:
    told = onnxopt("passes", "fuse-depthwise", "--json").json()
    assert (told["name"], told["preserves"]) == ("fuse-depthwise", "values")
    assert (told["options"][0]["name"], told["options"][0]["default"]) == ("merge", "auto")
    assert all(option["doc"] for option in told["options"])
    out = onnxopt("passes", "fuse-depthwise").out
    assert out.startswith("fuse-depthwise  preserves values\n") and "one of auto|always|never" in out


def test_a_preset_is_shown_with_what_it_stands_for(onnxopt: Command) -> None:
    out = onnxopt("passes", "O2").out
    assert "fold-constants" in out and "repeat{max=4}(O1" in out


def test_a_plugin_is_listed_with_its_file(onnxopt: Command, plugin: Path) -> None:
    assert "\ntouch " in onnxopt("passes", "--plugin", plugin).out
    told = onnxopt("passes", "touch", "--plugin", plugin, "--json").json()
    assert told["from"] == str(plugin)
    assert [(option["name"], option["default"]) for option in told["options"]] == [("bad", "none"), ("factor", "2.0")]


def entry_point(folder: Path, name: str, code: str) -> None:
    """Lay out an installed package `other` with one pass."""
    (folder / "other_passes.py").write_text(code)
    info = folder / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[onnxopt.passes]\n{name} = other_passes:Mark\n")


MARK = """
from dataclasses import dataclass
from onnxopt import Pass

@dataclass(frozen=True)
class Mark(Pass):
    '''Marks the graph.'''

    def run(self, graph, ctx):
        graph.doc_string = "marked"
        return True
"""


def test_a_pass_of_another_package_is_found_and_runs(
    onnxopt: Command, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry_point(tmp_path, "mark", MARK)
    monkeypatch.syspath_prepend(tmp_path)
    assert "an entry point of other" in onnxopt("passes", "mark", "--json").json()["from"]
    assert onnxopt("run", model, "-p", "mark", "-o", "out.onnx").code == 0
    assert b"marked" in Path("out.onnx").read_bytes()


def test_a_broken_package_does_not_hide_the_other_passes(
    onnxopt: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry_point(tmp_path, "mark", "import nothing_of_that_name")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "other_passes", raising=False)
    ended = onnxopt("passes")
    assert ended.code == 0 and "fold-constants" in ended.out and "nothing_of_that_name" in ended.out
    broken = next(entry for entry in onnxopt("passes", "--json").json()["passes"] if entry["name"] == "mark")
    assert "nothing_of_that_name" in broken["error"]


def test_backends(onnxopt: Command) -> None:
    assert "onnx" in onnxopt("backends").out
    told = {facts["name"]: facts for facts in onnxopt("backends", "--json").json()["backends"]}
    assert told["onnx"]["options"][0]["name"] == "external-data" and told["onnx"]["emits"]
    assert "Gelu" in told["qnn"]["one node for"] and told["qnn"]["emits"] and told["tensorrt"]["emits"]
    assert "external-data" in onnxopt("backends", "onnx").out
    assert onnxopt("backends", "onnx", "--json").json()["name"] == "onnx"
