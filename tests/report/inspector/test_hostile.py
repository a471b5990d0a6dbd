"""Names that mean harm, everywhere that a model or a pipeline can have a name: they are shown, and do nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import onnxopt
from onnxopt import ir
from onnxopt.report.inspector.page import write_page
from tests.passes.checks import parse
from tests.report.inspector.conftest import NARROW, WIDE, Open

_MARKUP = (
    "</script><script>window.hurt = 1; alert(1)</script><img src=x onerror='window.hurt = 1'>"
    "<style>*{display:none}</style>"
)
_LONG = "n" * 10_240
_BACKWARDS = "\u202egnp.exe\u2066 \u05e9\u05dc\u05d5\u05dd \u0000\u200f"
_MODEL = """
<ir_version: 8, opset_import: ["" : 17, "odd" : 1]>
g (float[N, 3] x, bool c) => (float[N, 3] y, float[N, 3] z) {
    [one] a = Identity(x)
    [two] b = odd.Odd <strange = "text"> (a)
    [three] y = Relu(b)
    [four] z = If (c) <
        then_branch = yes () => (float[N, 3] p) { [inner] p = Neg(x) },
        else_branch = no () => (float[N, 3] q) { [other] q = Relu(x) }
    >
}
"""


def _renamed(text: str) -> ir.Graph:
    """The model with one name everywhere; in each scope the names of values stay apart."""
    graph = parse(_MODEL)
    graph.name = text
    for number, node in enumerate(ir.every_node(graph)):
        node.name, node.doc_string = f"{text}{number}", text
        node.metadata_props[text] = text
        for output in node.outputs:
            output.name = f"{text}{number}v"
        for body in node.subgraphs():
            body.name = text
        if node.op == "Odd":
            node.attrs[text] = text
    graph.inputs[0].name = f"{text}x"
    return graph


@pytest.mark.parametrize("text", [_MARKUP, _LONG, _BACKWARDS], ids=["markup", "long", "backwards"])
def test_hostile_names_are_shown_harmlessly(opened: Open, tmp_path: Path, text: str) -> None:
    result = onnxopt.run(_renamed(text), "eliminate-identities", record=True, verify=False)
    story = result.report().story
    steps = [{**step, "text": f"{step['name']}{{{text}={text}}}", "failed": text} for step in story.steps]
    write_page(replace(story, title=text, pipeline=text, steps=steps, more={"warnings": [text]}), tmp_path / "r.html")
    for size in (WIDE, NARROW):
        page = opened(tmp_path / "r.html", size)
        _visit_everything(page)
        assert page.evaluate("window.hurt") is None
        assert page.locator("img, #app script, #app style").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        shown = page.evaluate("document.body.textContent")
        assert not set("\u202e\u2066\u200f\u0000") & set(shown.split('{"format"')[0])


def _visit_everything(page: Any) -> None:
    page.keyboard.press("ArrowRight")
    page.wait_for_selector('body[data-drawn^="1/"]')
    for tab in page.get_by_role("tab").all():
        tab.click()
    for at in range(page.locator(".box.node").count()):
        page.locator(".box.node").nth(at).click()
    page.locator(".box .tool").first.click()
    page.locator(".crumbs .link").nth(1).wait_for()
    page.locator(".searching input").fill("Neg")
