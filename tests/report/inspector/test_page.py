"""The page: one file, and nothing in it that a model wrote as markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import onnxopt
from onnxopt.errors import BadModel
from onnxopt.report.inspector.page import page
from onnxopt.report.inspector.story import Story, story_of_snapshots
from tests.passes.checks import parse
from tests.report.inspector.reading import document

_MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 3] x) => (float[N, 3] y) {
    [one] a = Identity(x)
    [two] y = Relu(a)
}
"""
_HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def test_names_of_strangers_do_not_become_markup() -> None:
    graph = parse(_MODEL)
    graph.name = graph.nodes[0].name = graph.inputs[0].name = _HOSTILE
    text = page(onnxopt.run(graph, "eliminate-identities", record=True).report().story)
    assert _HOSTILE not in text
    assert text.count("<script") == 3  # the layout, the page, and the document
    assert any(value["name"] == _HOSTILE for value in document(text)["values"])


def test_a_title_is_escaped() -> None:
    text = page(Story(_HOSTILE, "", [], onnxopt.run(parse(_MODEL), "O1", record=True).report().story.history, {}))
    assert "<title>&lt;/script&gt;" in text


def test_the_page_asks_nobody_for_anything() -> None:
    text = page(onnxopt.run(parse(_MODEL), "O1").report().story)
    assert "default-src 'none'" in text
    assert not re.search(r"<(link|img|iframe|object|embed)\b", text)
    assert not re.search(r'src\s*=\s*["\']', text)
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|importScripts|sendBeacon)\s*\(", text)


def test_every_pass_is_told_with_its_rewrites() -> None:
    result = onnxopt.run(parse(_MODEL), "eliminate-identities,eliminate-dead-nodes", record=True, verify=True)
    story = document(page(result.report().story))
    first, removed, *_ = story["steps"]
    assert (first["name"], first["costs"]["nodes"]) == ("input", 2)
    assert removed["name"] == "eliminate-identities"
    assert [rewrite["where"] for rewrite in removed["rewrites"]] == ["Identity one"]
    number = removed["rewrites"][0]["node"]
    versions = next(node["versions"] for node in story["nodes"] if node["id"] == number)
    assert story["versions"][versions[0][1]]["name"] == "one"
    assert any(line.startswith("-") and "Identity" in line for line in removed["diff"])
    assert story["steps"][-1]["verified"]["worst"]["bit_equal"]


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_a_folder_without_snapshots_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadModel, match="--snapshots DIR"):
        story_of_snapshots(tmp_path / folder)


def test_a_quantized_model_has_tables() -> None:
    folder = Path(__file__).parents[3] / "fixtures" / "digits_mobilenet"
    result = onnxopt.run(
        folder / "digits_mobilenet.onnx", "O1,quantize", data=folder / "calibration.npz", verify=False, record=True
    )
    tables = result.report().story.tables
    assert {row["kind"] for row in tables["encodings"]} == {"weight", "activation"}
    assert tables["rules"]["onnx"] == []
    assert len(tables["noise"]) > 20
    assert all(step.get("diff") is None or len(step["diff"]) <= 2001 for step in result.report().story.steps)


def test_a_notebook_shows_it_in_a_frame_of_its_own() -> None:
    shown = onnxopt.run(parse(_MODEL), "O1").report()._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert 'sandbox="allow-scripts"' in shown
