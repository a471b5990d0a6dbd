from __future__ import annotations

import numpy as np
import onnx.parser
import pytest
from onnx.backend.test.loader import load_model_tests

from onnxopt import ir
from onnxopt.ir.element_types import element_types
from onnxopt.ir.shapes import infer
from tests.conformance import model_of

HEAD = '<ir_version: 10, opset_import: ["" : 21]> '


def types(text: str) -> dict[str, str]:
    graph = ir.from_proto(onnx.parser.parse_model(HEAD + text))
    return {tensor.name: str(dtype) for tensor, dtype in element_types(graph).items()}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("y = Relu(x)", "float16"),
        ("y = Shape(x)", "int64"),
        ("y = Cast<to = 9>(x)", "bool"),
        ("y = Greater(x, x)", "bool"),
        ("y = ConstantOfShape(n)", "float32"),
        ("y = QuantizeLinear(x, s)", "uint8"),
        ("y = QuantizeLinear(x, s, z)", "int8"),
        ("y = DequantizeLinear(z, s)", "float16"),
        ("y = CastLike(n, x)", "float16"),
        ("y = Where(b, n, n)", "int64"),
        ("y = RandomNormal<shape = [2], dtype = 11>()", "float64"),
        ("y = If(b) <then_branch = t () => (p) { p = Neg(x) }, else_branch = e () => (q) { q = Abs(x) }>", "float16"),
    ],
)
def test_what_an_operator_gives(node: str, expected: str) -> None:
    found = types(f"g (float16[N] x, int64[1] n, bool b, float16 s, int8 z) => (y) {{ {node} }}")
    assert found["y"] == expected


@pytest.mark.parametrize(
    "node",
    ["y = SequenceConstruct(x)", "y = local.f(x)", "y = Loop(n, b) <body = l (i, c) => (c, k) { k = local.f(i) }>"],
)
def test_what_no_schema_tells_stays_open(node: str) -> None:
    assert "y" not in types(f"g (float[N] x, int64 n, bool b) => (y) {{ {node} }}")


@pytest.mark.parametrize(
    "node",
    [
        "y, z = Loop(n, b, x) <body = l (i, c, a) => (d, e, i) { d = Identity(c)  e = Exp(a) }>",
        "y, z = Scan(x, n) <num_scan_inputs = 1, body = l (a, i) => (e, i) { e = Exp(a) }>",
    ],
)
def test_what_a_body_is_given_and_gives(node: str) -> None:
    found = types(f"g (float16[N] x, int64[1] n, bool b) => (y, z) {{ {node} }}")
    assert {name: found[name] for name in "aieyz"} == {
        "a": "float16",
        "i": "int64",
        "e": "float16",
        "y": "float16",
        "z": "int64",
    }


def test_scan_of_opset_8_is_first_given_lengths() -> None:
    text = (
        '<ir_version: 3, opset_import: ["" : 8]> g (float16[B,N] x, int64[B] n) => (y)'
        " { y = Scan(n, x) <num_scan_inputs = 1, body = l (a) => (e) { e = Exp(a) }> }"
    )
    graph = ir.from_proto(onnx.parser.parse_model(text))
    assert {tensor.name: str(dtype) for tensor, dtype in element_types(graph).items()}["y"] == "float16"


def test_what_is_declared_stays() -> None:
    graph = ir.from_proto(onnx.parser.parse_model(HEAD + "g (float[N] x) => (float[N] y) { y = Relu(x) }"))
    assert not element_types(graph)


def test_onnxs_inference_finds_the_same_in_the_conformance_models() -> None:
    agreed = 0
    for case in load_model_tests(kind="node"):
        model = onnx.ModelProto.FromString(model_of(case).SerializeToString())
        del model.graph.value_info[:]
        graph = ir.from_proto(model)
        for output in graph.outputs:
            if output.type == "tensor_type":
                output.dtype = None
        found, inferred = element_types(graph), infer(graph).found
        for tensor, dtype in found.items():
            if tensor in inferred and inferred[tensor].dtype is not None:
                assert np.dtype(dtype) == inferred[tensor].dtype, (case.name, tensor.name)
                agreed += 1
    assert agreed > 6000
