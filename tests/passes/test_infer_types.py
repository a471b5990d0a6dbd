from __future__ import annotations

import numpy as np

from onnxopt.passes.infer_types import InferTypes
from tests.passes.checks import check_golden, check_pass, parse

HEAD = '<ir_version: 8, opset_import: ["" : 17]> '
MODEL = HEAD + "g (float[N,4] x) => (int64[2] z) { h = Relu(x)  y = Sigmoid(h)  z = Shape(y) }"


def test_golden() -> None:
    check_golden(InferTypes(), parse(MODEL), "a chain")


def test_every_type_is_one_rewrite_together() -> None:
    graph = parse(MODEL)
    ctx = check_pass(InferTypes(), graph)
    assert [rewrite.what for rewrite in ctx.rewrites] == ["declare the element types of 2 values"]
    assert [node.outputs[0].dtype for node in graph.nodes] == [np.float32, np.float32, np.int64]


def test_a_model_that_declares_all_is_left_alone() -> None:
    check_pass(InferTypes(), parse(HEAD + "g (float[N] x) => (float[N] y) { y = Relu(x) }"), expect_change=False)
