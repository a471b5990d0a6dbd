"""One node, said otherwise by `legalize-tensorrt`, and held to onnx's reference where onnxruntime has no such one."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnx.reference

from onnxopt import ir
from onnxopt.passes.legalize_tensorrt import LegalizeTensorrt
from onnxopt.pipeline.base import Context
from tests.passes.checks import run_pass
from tests.rules.spelling_out import spelled

PASS = LegalizeTensorrt()
model = spelled.model
Feeds = dict[str, np.ndarray]


def check(graph: ir.Graph, feeds: Feeds | None = None, *, gone: str = "") -> Context:
    """The pass changes the graph, keeps its outputs in onnxruntime, and finds nothing more."""
    return spelled.check(graph, feeds, gone=gone, by=PASS)


def kept(graph: ir.Graph) -> None:
    """The pass leaves the graph as it is, and refuses nothing."""
    spelled.kept(graph, PASS)


def check_by_reference(graph: ir.Graph, feeds: Feeds, *, gone: str) -> None:
    """The new graph gives what the old one does, both in onnx's reference evaluator."""
    wanted = _evaluated(graph, feeds)
    changed, _ = run_pass(PASS, graph)
    assert changed and gone not in {node.op for node in ir.every_node(graph)}
    for one, other in zip(wanted, _evaluated(graph, feeds), strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_allclose(other, one, rtol=1e-3 if one.dtype == np.float16 else 1e-5, atol=1e-6)


def _evaluated(graph: ir.Graph, feeds: Feeds) -> list[np.ndarray]:
    proto = ir.to_proto(graph)
    onnx.checker.check_model(proto, full_check=True)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [np.asarray(each) for each in onnx.reference.ReferenceEvaluator(proto).run(None, feeds)]
