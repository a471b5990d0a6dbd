"""One node, said otherwise by `legalize-qnn`, or another pass of such rules; and held to everything a pass promises."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.passes.legalize_qnn import LegalizeQnn
from onnxopt.pipeline.base import Context, Pass
from tests.passes.checks import check_pass, parse, run, run_pass

PASS = LegalizeQnn()


def model(interface: str, body: str, constants: str = "", opset: int = 18) -> ir.Graph:
    """A graph from the text of its parts."""
    weights = f"<{constants}>" if constants else ""
    return parse(f'<ir_version: 10, opset_import: ["" : {opset}]> g {interface} {weights} {{ {body} }}')


def check(graph: ir.Graph, feeds: dict[str, np.ndarray] | None = None, *, gone: str = "", by: Pass = PASS) -> Context:
    """The pass changes the graph, keeps its outputs, and finds nothing more; the operator `gone` is."""
    ctx = check_pass(by, graph, feeds)
    assert not gone or gone not in {node.op for node in ir.every_node(graph)}
    return ctx


def kept(graph: ir.Graph, by: Pass = PASS) -> None:
    """The pass leaves the graph as it is, and refuses nothing."""
    ctx = check_pass(by, graph, expect_change=False)
    assert not ctx.refusals, ctx.refusals


def check_values(graph: ir.Graph, feeds: dict[str, np.ndarray]) -> None:
    """Each element is the same to six digits: NaN, infinities and large ones among small ones too."""
    before = run(ir.to_proto(graph), feeds)
    changed, _ = run_pass(PASS, graph)
    assert changed
    after = run(ir.to_proto(graph), feeds)
    for name, one in before.items():
        np.testing.assert_allclose(after[name], one, rtol=1e-6, atol=1e-6, err_msg=name)
