"""Products of matrices, in Core ML's words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("coremltools", reason="lowering makes MIL, which coremltools has")

from tests.backends.coreml.lowered import assert_agrees, conforms, model_of, operations, problems

RANDOM = np.random.default_rng(11)
OUT = {"y": np.float32}


def floats(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def test_what_the_operators_are_specified_to_give() -> None:
    equal, refused = conforms("MatMul", "Gemm", "Einsum", "Det")
    assert equal >= 15
    assert all("float64" in reason or "bfloat16" in reason for reason in refused.values()), refused


@pytest.mark.parametrize(
    ("left", "right"),
    [((4,), (4,)), ((4,), (2, 4, 3)), ((2, 3, 4), (4,)), ((2, 1, 3, 4), (5, 4, 2)), ((3, 4), (4, 2))],
)
def test_products_of_every_rank(left: Any, right: Any) -> None:
    feeds = {"a": floats(*left), "b": floats(*right)}
    assert_agrees(model_of([helper.make_node("MatMul", ["a", "b"], ["y"])], feeds, OUT), feeds)


@pytest.mark.parametrize("turned_a", [0, 1])
@pytest.mark.parametrize("turned_b", [0, 1])
@pytest.mark.parametrize("bias", [None, (5,), (1,), (), (3, 5), (3, 1), (1, 5)])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0), (1.0, 0.0)])
def test_gemm_with_a_constant_and_with_a_computed_matrix(
    turned_a: int, turned_b: int, bias: Any, alpha: float, beta: float
) -> None:
    a, b = floats(*((4, 3) if turned_a else (3, 4))), floats(*((5, 4) if turned_b else (4, 5)))
    names = ["a", "b"] + ["c"] * (bias is not None)
    node = helper.make_node("Gemm", names, ["y"], transA=turned_a, transB=turned_b, alpha=alpha, beta=beta)
    more = {} if bias is None else {"c": floats(*bias)}
    assert_agrees(model_of([node], {"a": a}, OUT, b=b, **more), {"a": a})
    feeds = {"a": a, "b": b, **more}
    assert_agrees(model_of([node], feeds, OUT), feeds)


def test_a_dense_layer_is_one_operation() -> None:
    node = helper.make_node("Gemm", ["a", "b", "c"], ["y"], transB=1)
    assert operations(model_of([node], {"a": floats(3, 4)}, OUT, b=floats(5, 4), c=floats(5))) == ["linear"]


EQUATIONS = {
    "bhid,bhjd->bhij": ((2, 3, 4, 5), (2, 3, 6, 5)),
    "ij,jk": ((2, 3), (3, 4)),
    "i,j->ji": ((3,), (4,)),
    "...ij,...jk->...ik": ((2, 3, 4), (2, 4, 5)),
    "...ii->...i": ((2, 3, 3),),
    "ij->": ((2, 3),),
    "ijk->ki": ((2, 3, 4),),
    "ij,kj,jl->il": ((2, 3), (4, 3), (3, 5)),
    "bij,bj->bi": ((2, 3, 4), (2, 4)),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_sums_of_products(equation: str) -> None:
    feeds = {chr(ord("a") + at): floats(*shape) for at, shape in enumerate(EQUATIONS[equation])}
    assert_agrees(model_of([helper.make_node("Einsum", list(feeds), ["y"], equation=equation)], feeds, OUT), feeds)


def test_determinants_of_up_to_three_rows() -> None:
    for size in (1, 2, 3):
        feeds = {"a": floats(2, size, size)}
        assert_agrees(model_of([helper.make_node("Det", ["a"], ["y"])], feeds, OUT), feeds)
    large = model_of([helper.make_node("Det", ["a"], ["y"])], {"a": floats(4, 4)}, OUT)
    assert "the determinant of 4 rows" in problems(large)[0]
