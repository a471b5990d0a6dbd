"""Passes tried on an open graph, and undone; the screen is driven as a person would drive it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.widgets import DataTable, ListView, Static

from onnxopt import ir
from onnxopt.errors import BadPipeline
from onnxopt.report.explorer.screen import Explorer
from onnxopt.report.explorer.trials import Trials
from tests.cli.conftest import Command
from tests.passes.checks import parse

_MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 3] x) => (float[N, 3] y) {
    [one] a = Identity(x)
    [two] b = Relu(a)
    [three] y = Identity(b)
}
"""


def test_only_passes_that_would_change_it_are_listed() -> None:
    trials = Trials(parse(_MODEL))
    found = {candidate.name: candidate for candidate in trials.candidates()}
    assert found["eliminate-identities"].rewrites == 2
    assert "fuse-conv-bn" not in found
    assert "quantize" not in found  # it needs data
    for name in found:
        assert Trials(parse(_MODEL)).apply(name)


def test_a_pass_is_applied_and_undone() -> None:
    trials = Trials(parse(_MODEL))
    before = ir.to_text(trials.now.graph)
    assert trials.apply("eliminate-identities")
    assert not trials.apply("eliminate-identities")
    assert trials.pipeline == "eliminate-identities"
    assert [node.op for node in trials.now.graph.nodes] == ["Relu"]
    assert trials.undo()
    assert ir.to_text(trials.now.graph) == before
    assert not trials.undo()


def test_what_is_no_pass_is_refused() -> None:
    with pytest.raises(BadPipeline, match="eliminate-identities"):
        Trials(parse(_MODEL)).apply("eliminate-identitys")


def test_a_person_applies_looks_undoes_and_writes(tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    asyncio.run(_drive(Explorer(Trials(parse(_MODEL)), "m.onnx", output)))
    assert [node.op for node in ir.load(output).nodes] == ["Relu"]


async def _drive(app: Explorer) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        nodes, candidates = app.query_one("#nodes", DataTable), app.query_one("#candidates", ListView)
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert nodes.row_count == 3
        names = [item.name for item in candidates.children]
        candidates.index = names.index("eliminate-identities")
        await pilot.press("enter")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert nodes.row_count == 1
        assert "Identity" in str(app.query_one("#told", Static).render())
        await pilot.press("u")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert nodes.row_count == 3
        await pilot.press("slash", *"relu", "enter")
        await pilot.pause()
        assert nodes.row_count == 1
        app.trials.apply("eliminate-identities")
        await pilot.press("w")
        await pilot.pause()


def test_without_a_terminal_it_says_what_else_there_is(onnxopt: Command, tmp_path: Path) -> None:
    ir.save(parse(_MODEL), tmp_path / "m.onnx")
    ended = onnxopt("explore", "m.onnx")
    assert ended.code == 2
    assert "--report" in ended.err
