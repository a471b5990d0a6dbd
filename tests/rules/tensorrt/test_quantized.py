"""Quantized operators: Q/DQ that TensorRT has, or the arithmetic that they are."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.passes.checks import check_refusal, ops, run_pass
from tests.rules.tensorrt.legalized import PASS, check, check_by_reference, kept, model

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(3, 4)).astype("f4") * 20
SCALE = {"float": "float s = {0.0973}", "float16": "float16 s = {11834}"}
"""In the text, a float16 is its bits: these are of about 0.0973, of which no product lies between two integers."""
SHAPES = {"a": (3, 4), "b": (4, 2)}
TO = {"float": 1, "float16": 10}
TINY = "float s = {0.1}, uint8 z = {100}"


@pytest.mark.parametrize("zero", ["uint8 z = {100}", "int8 z = {-5}", "uint8 z = {0}"])
@pytest.mark.parametrize("dtype", ["float", "float16"])
def test_quantizing_is_arithmetic(zero: str, dtype: str) -> None:
    interface = f"({dtype}[3,4] x) => ({zero.split()[0]}[3,4] y)"
    constants = f"{SCALE[dtype]}, {zero}"
    graph = model(interface, "y = QuantizeLinear (x, s, z)", constants, opset=19)
    check(graph, {"x": NUMBERS.astype("f2" if dtype == "float16" else "f4")}, gone="QuantizeLinear")


@pytest.mark.parametrize("zero", ["uint8[3] z = {0, 100, 128}", "int8[3] z = {1, 0, -7}"])
def test_a_scale_for_each_row(zero: str) -> None:
    own = zero.partition("[")[0]
    constants = f"float[3] s = {{0.1, 0.5, 2}}, {zero}"
    quantize = model(f"(float[3,4] x) => ({own}[3,4] y)", "y = QuantizeLinear <axis = 0> (x, s, z)", constants)
    check(quantize, {"x": NUMBERS}, gone="QuantizeLinear")
    dequantize = model(f"({own}[3,4] x) => (float[3,4] y)", "y = DequantizeLinear <axis = 0> (x, s, z)", constants)
    check(dequantize, {"x": RNG.integers(0, 127, (3, 4)).astype(own)}, gone="DequantizeLinear")


def test_blocks() -> None:
    constants = "float[3,2] s = {0.1, 0.5, 2, 1, 3, 0.2}, uint8[3,2] z = {0, 100, 128, 255, 3, 4}"
    body = "y = DequantizeLinear <axis = 1, block_size = 2> (x, s, z)"
    graph = model("(uint8[3,4] x) => (float[3,4] y)", body, constants, opset=21)
    check(graph, {"x": RNG.integers(0, 255, (3, 4)).astype("u1")}, gone="DequantizeLinear")


def test_a_bias_of_int32() -> None:
    graph = model("(int32[4] x) => (float[4] y)", "y = DequantizeLinear (x, s)", "float s = {0.001}")
    check(graph, {"x": RNG.integers(-9999, 9999, 4).astype("i4")}, gone="DequantizeLinear")


def test_a_pair_between_two_nodes_has_no_bytes_left() -> None:
    graph = model(
        "(float[3,4] x) => (float[3,4] y)", "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)", TINY
    )
    check(graph, {"x": NUMBERS})
    assert ops(graph) == ["Div", "Round", "Add", "Clip", "Sub", "Mul"]


def test_a_pair_whose_bytes_are_given_out() -> None:
    interface = "(float[3,4] x) => (float[3,4] y, uint8[3,4] q)"
    graph = model(interface, "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)", TINY)
    check(graph, {"x": NUMBERS})


def test_what_int8_has_stays() -> None:
    body = "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)"
    kept(model("(float[3,4] x) => (float[3,4] y)", body, "float s = {0.1}, int8 z = {0}"))


def test_what_requantize_makes_int8_of_is_left_to_it() -> None:
    body = "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)"
    graph = model("(float[3,4] x) => (float[3,4] y)", body, "float s = {0.1}, uint8 z = {128}")
    check_refusal(PASS, graph, "its zero point is 128: requantize makes int8 of it")


@pytest.mark.parametrize("x", [NUMBERS, np.abs(NUMBERS), -np.abs(NUMBERS), np.zeros((3, 4), "f4")])
def test_quantizing_by_the_range_that_there_is(x: np.ndarray) -> None:
    interface = "(float[3,4] x) => (uint8[3,4] y, float s, uint8 z)"
    check(model(interface, "y, s, z = DynamicQuantizeLinear (x)"), {"x": x}, gone="DynamicQuantizeLinear")


@pytest.mark.parametrize("own", ["int8", "uint8"])
@pytest.mark.parametrize("zeros", ["", ", az, bz", ", rows, bz"])
def test_products_of_integers(own: str, zeros: str) -> None:
    a, b = (RNG.integers(np.iinfo(own).min, np.iinfo(own).max, shape, own) for shape in ((3, 4), (4, 2)))
    constants = f"{own} az = {{3}}, {own} bz = {{100}}, {own}[3] rows = {{1, 2, 127}}"
    graph = model(f"({own}[3,4] a, {own}[4,2] b) => (int32[3,2] y)", f"y = MatMulInteger (a, b{zeros})", constants)
    if "rows" in zeros:
        changed, _ = run_pass(PASS, graph)  # onnxruntime has no zero point for each row
        assert changed and "MatMulInteger" not in ops(graph)
        return
    check(graph, {"a": a, "b": b}, gone="MatMulInteger")


def test_convolutions_of_integers() -> None:
    x, w = (RNG.integers(0, 255, shape, "u1") for shape in ((1, 2, 5, 5), (3, 2, 3, 3)))
    body = "y = ConvInteger <pads = [1,1,1,1]> (x, w, xz)"
    graph = model("(uint8[1,2,5,5] x, uint8[3,2,3,3] w) => (int32[1,3,5,5] y)", body, "uint8 xz = {7}")
    check(graph, {"x": x, "w": w}, gone="ConvInteger")


def test_sums_that_float32_does_not_hold_are_refused() -> None:
    graph = model("(uint8[1,300] a, uint8[300,1] b) => (int32[1,1] y)", "y = MatMulInteger (a, b)")
    feeds = {"a": np.full((1, 300), 255, "u1"), "b": np.full((300, 1), 255, "u1")}
    changed, ctx = run_pass(PASS, graph)
    assert not changed and feeds and "float32 is exact for 258 alone" in ctx.refusals[0].what


@pytest.mark.parametrize(("own", "zero"), [("int8", 0), ("uint8", 117)])
def test_linear_convolutions(own: str, zero: int) -> None:
    constants = (
        f"float xs = {{0.02}}, {own} z = {{{zero}}}, float[3] ws = {{0.01, 0.02, 0.03}}, int8[3] wz = {{0, 0, 0}}, "
        "float ys = {0.5}, int32[3] b = {100, -200, 3000}"
    )
    interface = f"({own}[1,2,5,5] x, int8[3,2,3,3] w) => ({own}[1,3,5,5] y)"
    body = "y = QLinearConv <pads = [1,1,1,1]> (x, xs, z, w, ws, wz, ys, z, b)"
    limits = np.iinfo(own)
    feeds = {
        "x": RNG.integers(limits.min, limits.max, (1, 2, 5, 5), own),
        "w": RNG.integers(-127, 127, (3, 2, 3, 3), "i1"),
    }
    graph = model(interface, body, constants)
    check(graph, feeds, gone="QLinearConv")
    assert ("DequantizeLinear" in ops(graph)) and (own == "uint8" or ops(graph)[-1] == "QuantizeLinear")


@pytest.mark.parametrize("own", ["int8", "uint8"])
@pytest.mark.parametrize("scale", ["float", "float16"])
def test_linear_products(own: str, scale: str) -> None:
    interface = f"({own}[3,4] a, {own}[4,2] b) => ({own}[3,2] y)"
    body, constants = "y = QLinearMatMul (a, s, z, b, s, z, s, z)", f"{SCALE[scale]}, {own} z = {{3}}"
    graph = model(interface, body, constants, opset=21)
    limits = np.iinfo(own)
    feeds = {name: RNG.integers(limits.min // 8, limits.max // 8, shape, own) for name, shape in SHAPES.items()}
    (check if scale == "float" else check_by_reference)(graph, feeds, gone="QLinearMatMul")


@pytest.mark.parametrize("dtype", ["float", "float16"])
@pytest.mark.parametrize("like", [False, True])
def test_casts_of_eight_bits(dtype: str, like: bool) -> None:
    there, back = (
        ("CastLike (x, e)", "CastLike (q, x)") if like else ("Cast <to = 17> (x)", f"Cast <to = {TO[dtype]}> (q)")
    )
    interface = f"({dtype}[3,4] x, float8e4m3fn[1] e) => ({dtype}[3,4] y)"
    graph = model(interface, f"q = {there} y = {back}", opset=21)
    feeds = {"x": NUMBERS.astype("f2" if dtype == "float16" else "f4") * 30, "e": np.zeros(1, ml_dtypes.float8_e4m3fn)}
    check_by_reference(graph, feeds, gone="Cast")
    assert ops(graph) == ["QuantizeLinear", "DequantizeLinear"]


def test_casts_that_do_not_saturate_are_refused() -> None:
    graph = model("(float[3] x) => (float8e4m3fn[3] y)", "y = Cast <to = 17, saturate = 0> (x)", opset=21)
    changed, ctx = run_pass(PASS, graph)
    assert not changed and "it makes float8_e4m3fn of float32" in ctx.refusals[0].what
