"""Masks: of what is zero, together with others, and after passes that changed names and types."""

from __future__ import annotations

from typing import Any

import numpy as np

import onnxopt
from onnxopt.pruning.masks import Mask, Masks
from onnxopt.pruning.zeros import stored_weights
from tests.passes.checks import parse

GEMM = """<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[N, 3] y)
  <float[4, 3] w = {1, 0, 2, 0, 3, 4, 5, 6, -0.0, 7, 8, 9}, float[3] b = {0, 1, 0}> { [fc] y = Gemm (x, w, b) }"""
KEEP = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1]], bool)


def mask(*keep: int, weight: str = "w") -> Mask:
    return Mask(weight, "layer", np.array(keep, bool))


def test_of_what_is_zero_now() -> None:
    (found,) = Masks.of(parse(GEMM))
    assert (found.weight, found.layer, found.zeros, found.sparsity) == ("w", "fc", 3, 0.25)
    np.testing.assert_array_equal(found.keep, KEEP)  # -0 is zero, and the bias is no weight


def test_two_masks_of_a_weight_are_zero_where_either_is() -> None:
    found = Masks([mask(1, 1, 0), mask(0, 1, weight="v")]).merged(Masks([mask(0, 1, 1), mask(1, weight="u")]))
    assert {each.weight: each.keep.tolist() for each in found} == {
        "w": [False, True, False], "v": [False, True], "u": [True],
    }  # fmt: skip
    assert len(found) == 3 and "w" in found and "x" not in found and found.get("x") is None


def test_of_another_shape_the_later_mask_counts() -> None:
    found = Masks([mask(1, 0)]).merged(Masks([mask(0, 1, 1)])).get("w")
    assert found is not None and found.keep.tolist() == [False, True, True]


def test_a_weight_as_it_was_has_its_own_mask_though_more_of_it_is_zero() -> None:
    kept = Masks([Mask("w", "fc", KEEP | (np.arange(12).reshape(4, 3) == 1))])
    (found,) = kept.in_model(parse(GEMM))
    assert found.zeros == 2


def test_a_weight_that_was_stored_anew_has_the_zeros_that_it_has() -> None:
    result = onnxopt.run(parse(GEMM), "prune{sparsity=0.5},quantize-weights{smallest=1}", verify=False)
    before = result.context.kept(Masks)
    assert before is not None
    (found,) = before.in_model(result.graph)
    assert found.weight == "w_quantized" and found.keep.shape == (4, 3) and found.sparsity == 0.5


def zeros(text: str) -> list[Any]:
    return [each.zeros().astype(int).tolist() for each in stored_weights(parse(text))]


HEAD = '<ir_version: 10, opset_import: ["": 21]> g (float[N, 2] x) => (float[N, 2] y) '


def test_integers_are_zero_at_their_zero_point() -> None:
    text = (
        HEAD
        + """<uint8[2, 2] q = {1, 2, 3, 2}, float[2] s = {1, 1}, uint8[2] z = {1, 2}> {
        w = DequantizeLinear <axis = 1> (q, s, z) y = MatMul (x, w) }"""
    )
    assert zeros(text) == [[[1, 1], [0, 1]]]
    assert zeros(text.replace("axis = 1", "axis = 0")) == [[[1, 0], [0, 1]]]
    scalar = text.replace("[2] s = {1, 1}", " s = {1}").replace("[2] z = {1, 2}", " z = {3}")
    assert zeros(scalar) == [[[0, 0], [1, 0]]]


def test_blocks_have_zero_points_of_their_own() -> None:
    text = (
        HEAD.replace("[N, 2] x", "[N, 4] x")
        + """
      <int8[4, 1] q = {1, 2, 3, 4}, float[2, 1] s = {1, 1}, int8[2, 1] z = {1, 4}> {
        w = DequantizeLinear <axis = 0, block_size = 2> (q, s, z) y = MatMul (x, w) }"""
    )
    assert zeros(text) == [[[1], [0], [0], [1]]]


def test_a_palette_has_zeros_where_its_table_has() -> None:
    text = (
        HEAD
        + """<float[3] t = {-1, 0, 2}, uint8[2, 2] i = {1, 0, 2, 1}> {
        p = Cast <to = 6> (i) w = Gather (t, p) y = MatMul (x, w) }"""
    )
    assert zeros(text) == [[[1, 0], [0, 1]]]


def test_behind_what_moves_elements_the_constant_counts() -> None:
    text = HEAD + "<float[2, 2] v = {1, 0, 2, 3}> { w = Transpose (v) y = MatMul (x, w) }"
    assert zeros(text) == [[[0, 1], [0, 0]]]


def test_computed_weights_are_none() -> None:
    assert zeros(HEAD + "{ w = Transpose (x) y = MatMul (x, w) }") == []


def test_counted_as_told() -> None:
    for each in stored_weights(parse(GEMM)):
        assert each.count() == int(np.count_nonzero(each.zeros())) == 3


def test_a_weight_in_a_function_and_in_a_subgraph() -> None:
    text = """<ir_version: 10, opset_import: ["": 21, "f": 1]> g (bool c, float[N, 2] x) => (float[N, 2] y)
      <float[2, 2] v = {1, 0, 0, 3}> {
        a = f.layer (x)
        y = If (c) <then_branch = t () => (float[N, 2] p) { p = MatMul (a, v) },
                    else_branch = e () => (float[N, 2] q) { q = Identity (a) }>
      }
      <domain: "f", opset_import: ["": 21]> layer (x) => (y) {
        w = Constant <value = float[2, 2] {0, 0, 1, 2}> ()
        y = MatMul (x, w)
      }"""
    graph = parse(text)
    assert {each.weight: each.zeros for each in Masks.of(graph)} == {"v": 2, "w": 2}
