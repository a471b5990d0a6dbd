"""`sink-transposes` on random chains: equal outputs, never a node more, done after one run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.pipeline.base import Preserves
from tests.passes.checks import assert_equal_outputs, count_ops, random_feeds, run, run_pass
from tests.passes.random_transposes import random_transposes
from tests.passes.sink_models import EXACT, SINK


@pytest.mark.parametrize("seed", range(200, 230))
def test_a_region_may_end_anywhere(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxopt.layout.region.MOST_NODES", 3)
    test_random_chains(seed)


@pytest.mark.parametrize("seed", range(300, 330))
def test_any_number_of_rewrites_leaves_a_model(seed: int) -> None:
    model, feeds = random_transposes(seed)
    expected = run(model, feeds)
    for limit in range(4):
        graph = ir.from_proto(model)
        run_pass(EXACT, graph, limit=limit)
        assert_equal_outputs(expected, run(ir.to_proto(graph), feeds), Preserves.BITS)


@pytest.mark.parametrize("seed", range(0, 160))
def test_random_chains(seed: int) -> None:
    model, feeds = random_transposes(seed)
    expected = run(model, feeds)
    for pass_ in (EXACT, SINK):
        graph = ir.from_proto(model)
        nodes, transposes = len(graph.nodes), count_ops(graph)["Transpose"]
        changed, ctx = run_pass(pass_, graph)
        after = ir.to_proto(graph)
        onnx.checker.check_model(after, full_check=True)
        found: dict[str, Any] = run(after, feeds)
        for name, one in expected.items():
            np.testing.assert_allclose(found[name], one, rtol=0, atol=0 if pass_.exact else 1e-4, err_msg=name)
        assert len(graph.nodes) <= nodes and count_ops(graph)["Transpose"] <= transposes
        assert changed == bool(ctx.rewrites)
        text = ir.to_text(graph)
        assert not run_pass(pass_, graph)[0] and ir.to_text(graph) == text


def test_random_feeds_are_what_the_models_take() -> None:
    model, feeds = random_transposes(3)
    assert random_feeds(model).keys() == feeds.keys()
