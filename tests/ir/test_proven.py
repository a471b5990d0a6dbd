"""Certain shapes: what onnxruntime computes never contradicts them, and value infos never enter them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.backend.test.loader import load_model_tests

from onnxopt import ir
from onnxopt.ir.proven import ProvenShapes, Shape
from tests.passes.checks import parse, random_feeds, run

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'


def shape_of(body: str, more: str, weights: str) -> Shape | None:
    """The certain shape of `y`, which the real one has to agree with."""
    text = f"{HEAD} g (float[n,3,8,8] x{more}) => (float y) <{weights}> {{ {body} }}"
    model = onnx.parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    graph = ir.from_proto(model)
    proven = ProvenShapes(graph).shape(graph.outputs[0])
    real = run(model, random_feeds(model))["y"].shape
    assert proven is None or agree(proven, real), real
    return proven


def agree(proven: Shape, real: tuple[int, ...]) -> bool:
    return len(proven) == len(real) and all(dim in (None, size) for dim, size in zip(proven, real, strict=True))


@pytest.mark.parametrize(
    ("body", "more", "weights", "expected"),
    [
        ("y = Relu (x)", "", "", (None, 3, 8, 8)),
        ("y = Conv <pads = [1, 1, 1, 1], strides = [2, 1], dilations = [1, 2]> (x, w)", ", float[4,3,3,3] w", "",
         (None, 4, 4, 6)),
        ('y = Conv <auto_pad = "SAME_UPPER"> (x, w)', ", float[4,3,3,3] w", "", (None, 4, 8, 8)),
        ("y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)", "", "", (None, 3, 4, 4)),
        ("y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x)", "", "", (None, 3, None, None)),
        ("y = GlobalAveragePool (x)", "", "", (None, 3, 1, 1)),
        ("y = Flatten (x)", "", "", (None, 192)),
        ("y = Flatten <axis = -1> (x)", "", "", (None, 8)),
        ("f = Flatten (x) y = Gemm <transB = 1> (f, w)", ", float[5,192] w", "", (None, 5)),
        ("f = Flatten (x) y = Gemm <transA = 1> (f, f)", "", "", (192, 192)),
        ("y = MatMul (x, w)", ", float[3,8,5] w", "", (None, 3, 8, 5)),
        ("y = Transpose <perm = [0, 2, 3, 1]> (x)", "", "", (None, 8, 8, 3)),
        ("y = Transpose (x)", "", "", (8, 8, 3, None)),
        ("y = Reshape (x, s)", "", "int64[3] s = {0, -1, 4}", (None, 48, 4)),
        ("r = Reshape (w, t) y = Add (r, x)", ", float[3,64] w", "int64[4] t = {1, -1, 8, 8}", (None, 3, 8, 8)),
        ("y = Concat <axis = -3> (x, x)", "", "", (None, 6, 8, 8)),
        ("y = Unsqueeze (x, a)", "", "int64[2] a = {0, -1}", (1, None, 3, 8, 8, 1)),
        ("p = GlobalMaxPool (x) y = Squeeze (p, a)", "", "int64[2] a = {-1, 2}", (None, 3)),
        ("y = Add (x, w)", ", float[8] w", "", (None, 3, 8, 8)),
        ("y = Mul (w, x)", ", float[2,1,1,1] w", "", (2, 3, 8, 8)),
        ("y = Slice (x, a, b)", "", "int64[1] a = {0}, int64[1] b = {1}", (None, 3, 8, 8)),
        ("y = Tile (x, a)", "", "int64[4] a = {1, 2, 1, 1}", (None, 6, 8, 8)),
        ("s = Shape (x) y = Cast <to = 1> (s)", "", "", (4,)),
    ],
)  # fmt: skip
def test_what_operators_prove(body: str, more: str, weights: str, expected: Shape | None) -> None:
    assert shape_of(body, more, weights) == expected


def test_value_infos_and_body_inputs_prove_nothing() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[n,3] x, int64[k] any, int64 trips, bool c) => (float[p,q] y) {{
            a = Reshape (x, any)
            y = Loop (trips, c, a) <body = b (int64 i, bool ci, float[2,3] s) => (bool co, float[2,3] so) {{
                so = Neg (s) co = Identity (ci)
            }}>
        }}
    """)
    graph.nodes[0].outputs[0].shape = [2, 3]
    proven = ProvenShapes(graph)
    assert proven.shape(graph.nodes[0].outputs[0]) is None
    body = next(graph.subgraphs())
    assert proven.shape(body.inputs[2]) is None and proven.shape(body.nodes[0].outputs[0]) is None


def test_a_value_that_the_caller_may_override_proves_nothing() -> None:
    graph = parse(f"{HEAD} g (float[2] x, float[2] d = {{1, 2}}) => (float[2] y) {{ y = Add (x, d) }}")
    assert ProvenShapes(graph).shape(graph.inputs[1]) is None


def test_a_body_sees_the_shapes_around_it() -> None:
    graph = parse(f"""
        {HEAD}
        g (float[2,3] x, bool c) => (float[2,3] y) {{
            a = Neg (x)
            y = If (c) <
                then_branch = t () => (float[2,3] p) {{ p = Exp (a) }},
                else_branch = e () => (float[2,3] q) {{ q = Abs (a) }}
            >
        }}
    """)
    proven = ProvenShapes(graph)
    assert [proven.shape(scope.outputs[0]) for scope in graph.subgraphs()] == [(2, 3), (2, 3)]


@pytest.mark.slow
def test_conformance_models_contradict_no_certain_shape() -> None:
    checked = 0
    for case in load_model_tests(kind="node"):
        if case.model is None or not case.data_sets:
            continue
        graph = ir.from_proto(case.model)
        proven = ProvenShapes(graph)
        for tensor, array in zip(graph.outputs, case.data_sets[0][1], strict=True):
            shape = proven.shape(tensor) if isinstance(array, np.ndarray) else None
            if shape is not None:
                assert agree(shape, array.shape), case.name
                checked += 1
    assert checked > 500
