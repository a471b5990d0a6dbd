"""Integers that TensorRT computes nothing with, remainders, cumulative products, transforms."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from tests.passes.checks import check_refusal, run, run_pass
from tests.rules.tensorrt.legalized import PASS, check, check_by_reference, kept, model

RNG = np.random.default_rng(0)
BYTES = {dtype: RNG.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (2, 5), dtype) for dtype in ("int8", "uint8")}


@pytest.mark.parametrize("dtype", ["float16", "float"])
def test_remainders_with_the_sign_of_the_divisor(dtype: str) -> None:
    numbers = np.array([0, 1, -1, 2.5, -2.5, 7, np.inf, -np.inf, np.nan], "f2" if dtype == "float16" else "f4")
    graph = model(f"({dtype}[9,1] x, {dtype}[9] y) => ({dtype}[9,9] z)", "z = Mod (x, y)", opset=28)
    check_by_reference(graph, {"x": numbers[:, None], "y": numbers}, gone="")


def test_the_other_remainder_stays() -> None:
    kept(model("(float[3] x, float[3] y) => (float[3] z)", "z = Mod <fmod = 1> (x, y)"))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max", "Min", "Mod"])
def test_bytes(op: str) -> None:
    graph = model("(uint8[2,5] x, uint8[2,5] y) => (uint8[2,5] z)", f"z = {op} (x, y)")
    check(graph, {"x": BYTES["uint8"], "y": BYTES["uint8"][::-1] | 1})


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_clipped_bytes(dtype: str) -> None:
    graph = model(f"({dtype}[2,5] x) => ({dtype}[2,5] y)", "y = Clip (x, low)", f"{dtype} low = {{7}}")
    check(graph, {"x": BYTES[dtype]})


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_pooled_bytes(dtype: str) -> None:
    x = RNG.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (1, 2, 5, 5), dtype)
    body = "y = MaxPool <kernel_shape = [2,2], strides = [1,1], pads = [1,1,0,0]> (x)"
    check(model(f"({dtype}[1,2,5,5] x) => ({dtype}[1,2,5,5] y)", body), {"x": x})


@pytest.mark.parametrize("attributes", ["", "<exclusive = 1>", "<reverse = 1>", "<exclusive = 1, reverse = 1>"])
@pytest.mark.parametrize("axis", [0, -1])
def test_cumulative_products(attributes: str, axis: int) -> None:
    body, constants = f"y = CumProd {attributes} (x, axis)", f"int32 axis = {{{axis}}}"
    graph = model("(float[3,4] x) => (float[3,4] y)", body, constants, opset=26)
    check_by_reference(graph, {"x": RNG.normal(size=(3, 4)).astype("f4")}, gone="CumProd")


def test_long_products_are_refused() -> None:
    graph = model("(float[65] x) => (float[65] y)", "y = CumProd (x, axis)", "int32 axis = {0}", opset=26)
    changed, ctx = run_pass(PASS, graph)
    assert not changed and "up to 64 are spelled out" in ctx.refusals[0].what


@pytest.mark.parametrize(
    ("shape", "output", "attributes"),
    [
        ("2,6,3,1", "2,6,3,2", ""),
        ("2,6,3,2", "2,6,3,2", ""),
        ("2,7,3,1", "2,4,3,2", "onesided = 1"),
        ("2,6,3,2", "2,6,3,2", "inverse = 1"),
    ],
)
def test_transforms(shape: str, output: str, attributes: str) -> None:
    graph = model(
        f"(float[{shape}] x) => (float[{output}] y)", f"y = DFT <axis = 1{', ' * bool(attributes)}{attributes}> (x)"
    )
    check(graph, gone="DFT")


@pytest.mark.parametrize(("length", "output"), [(4, "2,4,2"), (9, "2,9,2")])
def test_transforms_of_another_length(length: int, output: str) -> None:
    body = "y = DFT (x, n, axis)"
    constants = f"int64 n = {{{length}}}, int64 axis = {{1}}"
    check(model(f"(float[2,6,1] x) => (float[{output}] y)", body, constants, opset=20), gone="DFT")


@pytest.mark.parametrize("size", [7, 8])
def test_back_from_half_of_a_spectrum(size: int) -> None:
    """By numpy: onnxruntime gives out complex numbers here, and more of the half than the length takes is not read."""
    body, constants = "y = DFT <inverse = 1, onesided = 1> (x, n, axis)", f"int64 n = {{{size}}}, int64 axis = {{1}}"
    graph = model(f"(float[2,5,2] x) => (float[2,{size},1] y)", body, constants, opset=20)
    signal = RNG.normal(size=(2, size))
    half = np.zeros((2, 5, 2), "f4")
    spectrum = np.fft.rfft(signal)
    half[:, : spectrum.shape[1]] = np.stack([spectrum.real, spectrum.imag], -1)
    assert run_pass(PASS, graph)[0]
    np.testing.assert_allclose(run(ir.to_proto(graph), {"x": half})["y"][..., 0], signal, atol=1e-5)


def test_unknown_lengths_are_refused() -> None:
    graph = model("(float[2,n,1] x) => (float[2,n,2] y)", "y = DFT <axis = 1> (x)")
    check_refusal(PASS, graph, "axis 1 of 'x' has no fixed size: freeze-shapes may help")


def test_a_vector_times_matrices() -> None:
    check(model("(float[3] x, float[2,3,4] w) => (float[2,4] y)", "y = MatMul (x, w)"))
    kept(model("(float[3] x, float[3,4] w) => (float[4] y)", "y = MatMul (x, w)"))
