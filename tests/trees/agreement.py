"""Whether a model and what a pass made of it say the same in onnxruntime, bit by bit."""

from __future__ import annotations

import numpy as np
import onnx

from onnxopt import ir
from onnxopt.passes.compact_trees import CompactTrees
from onnxopt.runtime.session import NotRunnable
from tests.passes.checks import run, run_pass

ROUNDED = ("SOFTMAX", "LOGISTIC")
"""Transforms that a LinearClassifier rounds otherwise than a TreeEnsembleClassifier."""


def compacted(model: onnx.ModelProto, pass_: CompactTrees | None = None) -> onnx.ModelProto:
    """What the pass makes of it, checked; a second run has to find nothing."""
    graph = ir.from_proto(model)
    before = ir.to_text(graph)
    changed, _ = run_pass(pass_ or CompactTrees(), graph)
    text, found = ir.to_text(graph), ir.to_proto(graph)
    assert changed == (text != before)
    onnx.checker.check_model(found, full_check=True)
    again, _ = run_pass(pass_ or CompactTrees(), graph)
    assert not again and ir.to_text(graph) == text, "not idempotent"
    return found


def assert_same(model: onnx.ModelProto, other: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> None:
    """Labels equal, scores bit by bit (any NaN is NaN), or within rounding after a LinearClassifier's transform."""
    expected, found = run(model, feeds), run(other, feeds)
    assert list(expected) == list(found)
    is_rounded = any(
        attribute.name == "post_transform" and attribute.s.decode() in ROUNDED
        for node in other.graph.node
        if node.op_type == "LinearClassifier"
        for attribute in node.attribute
    )
    for name, one in expected.items():
        two = found[name]
        assert one.dtype == two.dtype and one.shape == two.shape, name
        if one.dtype.kind != "f":
            np.testing.assert_array_equal(one, two, err_msg=name)
        elif is_rounded:
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            bits = f"u{one.dtype.itemsize}"
            numbers = ~(np.isnan(one) & np.isnan(two))
            np.testing.assert_array_equal(one.view(bits)[numbers], two.view(bits)[numbers], err_msg=name)


def runs(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> bool:
    """Whether onnxruntime takes a model at all."""
    try:
        run(model, feeds)
    except (NotRunnable, Exception):  # noqa: BLE001  # onnxruntime's classes have no common base
        return False
    return True
