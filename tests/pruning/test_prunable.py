"""Weights as matrices: what stands in a row, and how many zeros there are already."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.pruning.patterns import Pattern
from onnxopt.pruning.prunable import Prunable, prunable
from tests.passes.checks import parse

HEAD = '<ir_version: 8, opset_import: ["": 17]> g (float[a, b, c, d] x) => (float[e, f, g, h] y) '


def only(text: str) -> Prunable:
    (found,) = prunable(parse(HEAD + text), lambda reason, node: None)
    return found


def numbered(shape: tuple[int, ...]) -> str:
    values = ", ".join(map(str, range(int(np.prod(shape)))))
    return f"<float[{', '.join(map(str, shape))}] w = {{{values}}}>"


@pytest.mark.parametrize(
    ("node", "shape", "outputs", "inputs", "kernel"),
    [
        ("Conv (x, w)", (6, 4, 3, 3), 6, 4, 9),
        ("Conv <group = 2> (x, w)", (6, 4, 3, 3), 6, 4, 9),
        ("ConvTranspose (x, w)", (4, 6, 2, 2), 6, 4, 4),
        ("ConvTranspose <group = 2> (x, w)", (4, 3, 2, 2), 6, 2, 4),
        ("MatMul (x, w)", (4, 6), 6, 4, 1),
        ("MatMul (w, x)", (6, 4), 6, 4, 1),
        ("MatMul (x, w)", (2, 4, 6), 12, 4, 1),
        ("Gemm (x, w)", (4, 6), 6, 4, 1),
        ("Gemm <transB = 1> (x, w)", (6, 4), 6, 4, 1),
    ],
)
def test_rows_are_outputs(node: str, shape: tuple[int, ...], outputs: int, inputs: int, kernel: int) -> None:
    target = only(f"{numbered(shape)} {{ y = {node} }}")
    assert (target.outputs, target.inputs, target.kernel, target.shape) == (outputs, inputs, kernel, shape)
    values = target.weight.constant.read()
    matrix = target.matrix(values)
    assert matrix.shape == (outputs, inputs * kernel)
    np.testing.assert_array_equal(target.restored(matrix % 3 > 0), values % 3 > 0)


def test_inputs_stand_before_places() -> None:
    target = only(f"{numbered((1, 2, 2, 1))} {{ y = Conv (x, w) }}")
    assert target.matrix(target.weight.constant.read()).tolist() == [[0, 1, 2, 3]]
    target = only(f"{numbered((2, 1, 2, 1))} {{ y = ConvTranspose (x, w) }}")
    assert target.matrix(target.weight.constant.read()).tolist() == [[0, 1, 2, 3]]


def test_both_weights_of_a_recurrent_layer() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[3, N, 2] x) => (float[3, 1, N, 1] y) <float[1, 3, 2] w =
      {1, 2, 3, 4, 5, 6}, float[1, 3, 1] r = {1, 2, 3}> { y = GRU <hidden_size = 1> (x, w, r) }"""
    found = list(prunable(parse(text), lambda reason, node: None))
    assert [(each.name, each.outputs, each.inputs) for each in found] == [("w", 3, 2), ("r", 3, 1)]


@pytest.mark.parametrize(
    ("values", "share", "pattern", "is_pruned"),
    [
        ((0, 0, 1, 1), 0.5, "unstructured", True),
        ((0, 1, 1, 1), 0.5, "unstructured", False),
        ((0, 0, 1, 1), 0.5, "1x2", True),
        ((0, 1, 0, 1), 0.5, "1x2", False),
        ((0, 1, 1, 0), 0.9, "1:2", True),
        ((0, 0, 1, 1), 0.1, "1:2", False),
    ],
)
def test_whether_there_are_enough_zeros(values: tuple[int, ...], share: float, pattern: str, is_pruned: bool) -> None:
    target = only(f"<float[1, 4] w = {{{', '.join(map(str, values))}}}> {{ y = Gemm <transB = 1> (x, w) }}")
    assert target.is_pruned(share, Pattern.parse(pattern)) == is_pruned


def test_a_group_that_the_caller_of_the_function_sets() -> None:
    graph = parse("""<ir_version: 10, opset_import: ["": 21, "f": 1]> g (float[1, 2, 4, 4] x) => (float[a, b, c, d] y) {
        y = f.layer <group = 2> (x)
      }
      <domain: "f", opset_import: ["": 21]> layer <group> (x) => (y) {
        w = Constant <value = float[2, 1, 1, 1] {1, 2}> ()
        y = Conv <group : int = @group> (x, w)
      }""")
    told: list[tuple[str, ir.Node]] = []
    assert not list(prunable(graph, lambda reason, node: told.append((reason, node))))
    assert [reason for reason, _ in told] == ["the caller of the function says how many groups it has"]
