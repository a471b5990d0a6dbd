"""A merge of two layers that would lose zeros in a sum is refused; one whose weights are single products is not."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.fuse_depthwise import FuseDepthwise
from tests.passes.checks import check_pass, check_refusal, parse

TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[1, 4, 6, 6] x) => (float[1, 4, a, b] y)
  <float[{outputs}, 1, 3, 3] d, float[4, {outputs}, 1, 1] p> {{
    [depthwise] h = Conv <group = 4> (x, d)
    [pointwise] y = Conv (h, p)
  }}"""


def pair(each: int, zeros: float) -> ir.Graph:
    """A depthwise Conv with so many outputs a channel, and a 1x1 behind it."""
    rng = np.random.default_rng(1)
    text = TEXT.format(outputs=4 * each)
    for name, shape in (("d", (4 * each, 1, 3, 3)), ("p", (4, 4 * each, 1, 1))):
        values = rng.integers(1, 9, shape) * (rng.random(shape) >= zeros)
        text = text.replace(f"] {name}", f"] {name} = {{{', '.join(map(str, values.ravel()))}}}")
    return parse(text)


def test_a_sum_over_the_outputs_of_a_channel() -> None:
    check_refusal(FuseDepthwise(merge="always"), pair(2, 0.4), "zeros among the weights would be gone in sums")
    check_pass(FuseDepthwise(merge="always"), pair(2, 0.0))


@pytest.mark.parametrize("zeros", [0.0, 0.4])
def test_single_products(zeros: float) -> None:
    graph = pair(1, zeros)
    depthwise, pointwise = (node.inputs[1].read() for node in graph.nodes)
    check_pass(FuseDepthwise(merge="always"), graph)
    (node,) = graph.nodes
    expected = (pointwise != 0) & (depthwise.reshape(1, 4, 3, 3) != 0)
    np.testing.assert_array_equal(node.inputs[1].read() != 0, expected)
