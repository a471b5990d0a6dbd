from __future__ import annotations

import numpy as np
import pytest

from onnxopt.passes.fold_constants import FoldConstants
from tests.folding.models import body, floats, model, op, ops
from tests.passes.checks import check_pass, check_refusal

FOLD = FoldConstants()


def test_growth_is_refused_unless_asked_for() -> None:
    nodes = [op("Expand", "one n", "big"), op("Concat", "x big", "y", axis=0)]
    graph = model(nodes, {"one": floats(1), "n": np.array([1000])})
    check_refusal(FOLD, graph.copy(), "4000 bytes, the constants that would go 12; max-growth is 1024")
    check_pass(FoldConstants(max_growth=4000), graph)
    assert ops(graph) == ["Concat"]


def test_a_large_value_on_the_way_to_a_small_one_is_no_growth() -> None:
    nodes = "big = Expand(one, n) s = ReduceSum <keepdims = 0> (big) y = Add(x, s)"
    graph = body(nodes, "float[1] one = {1}, int64[1] n = {1000}")
    check_pass(FOLD, graph)
    assert ops(graph) == ["Add"]


WEIGHT = {
    "w": np.arange(1000, dtype=np.float32),
    "zero": np.array([0]),
    "half": np.array([500]),
    "all": np.array([1000]),
}


def test_a_weight_that_dies_pays_for_what_is_made_of_it() -> None:
    slices = [op("Slice", "w zero half", "a"), op("Slice", "w half all", "b")]
    graph = model([*slices, op("Concat", "x b a", "y", axis=0)], WEIGHT)
    check_pass(FOLD, graph)
    assert ops(graph) == ["Concat"]


@pytest.mark.parametrize("read", ["a b", "a w"])
def test_a_weight_that_would_be_doubled_stays(read: str) -> None:
    graph = model([op("Sin", "w", "a"), op("Cos", "w", "b"), op("Concat", f"x {read}", "y", axis=0)], WEIGHT)
    check_refusal(FOLD, graph, "max-growth")
