from __future__ import annotations

import pytest

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass, describe
from tests.pipeline import planted


@pytest.mark.parametrize(
    ("class_name", "name"),
    [("FoldConstants", "fold-constants"), ("Simplify", "simplify"), ("FuseConv2d", "fuse-conv2d")],
)
def test_the_name_of_a_pass_is_its_class_in_kebab_case(class_name: str, name: str) -> None:
    cls: type[Pass] = type(class_name, (planted.Nothing,), {})
    assert cls.pass_name() == name


def test_every_allowed_rewrite_is_recorded_with_its_pass_and_node() -> None:
    ctx = Context(current="fold")
    node = planted.graph().nodes[1]
    assert ctx.allow("folded", node) and ctx.allow("dropped", "somewhere")
    assert [(r.pass_name, r.what, r.where) for r in ctx.rewrites] == [
        ("fold", "folded", "Relu second"),
        ("fold", "dropped", "somewhere"),
    ]


def test_the_limit_counts_the_rewrites_of_the_whole_run() -> None:
    ctx = Context(limit=2)
    ctx.current = "one"
    assert ctx.allow("a")
    ctx.current = "two"
    assert ctx.allow("b")
    assert not ctx.allow("c")
    assert len(ctx.rewrites) == 2


def test_a_limit_of_zero_allows_nothing() -> None:
    assert not Context(limit=0).allow("a")


def test_statistics_and_warnings_bear_the_name_of_the_pass() -> None:
    ctx = Context(current="fold")
    ctx.count("folded")
    ctx.count("folded", 2)
    ctx.warn("one node failed")
    assert ctx.statistics == {"fold: folded": 3}
    assert ctx.warnings == ["fold: one node failed"]


def test_progress_reports_each_item_and_the_end() -> None:
    told: list[tuple[str, int, int]] = []
    ctx = Context(report_progress=lambda *report: told.append(report))
    assert list(ctx.progress("ab", "letters", 2)) == ["a", "b"]
    assert told == [("letters", 0, 2), ("letters", 1, 2), ("letters", 2, 2)]


def test_a_node_without_a_name_is_described_by_its_first_output() -> None:
    node = planted.graph().nodes[0]
    node.name = ""
    assert describe(node) == "Mul -> a"


def test_an_analysis_is_kept_until_the_graph_changes() -> None:
    graph, other = ir.Graph(), ir.Graph()
    ctx, asked = Context(), []

    def nodes(of: ir.Graph) -> int:
        asked.append(of)
        return len(of.nodes)

    assert ctx.analysis(nodes, graph) == ctx.analysis(nodes, graph) == 0
    assert asked == [graph]
    ctx.analysis(nodes, other)
    assert asked == [graph, other]
    ctx.forget()
    ctx.analysis(nodes, other)
    assert asked == [graph, other, other]
