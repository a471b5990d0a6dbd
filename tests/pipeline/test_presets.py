"""What the named pipelines leave nothing to do of."""

from __future__ import annotations

import onnx.parser
import pytest

import onnxopt


def test_o2_fuses_what_needs_a_shape_that_folding_made_certain() -> None:
    """The pads are computed, so that the shape of `p`, which the fusing asks for, follows once they are folded."""
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[N,2,9] x) => (float[N,2,8] y)
            <int64[6] minus = {0, 0, 1, 0, 0, 0}, float[2,1] s = {2, 3}, float[2,1] t = {4, 5}> {
            pads = Neg(minus)
            p = Pad(x, pads)
            a = Mul(p, s)
            y = Add(a, t)
        }""")
    assert [node.op for node in onnxopt.run(model, "O2", verify_each=True).graph.nodes] == ["Pad", "BatchNormalization"]


@pytest.mark.parametrize("preset", ["O1", "O2", "O3"])
def test_nothing_is_left_for_a_second_run(preset: str) -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[N,4] x) => (float[N,4] y) <float[4,4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}> {
            a = Identity(x)
            b = MatMul(a, w)
            y = Relu(b)
        }""")
    first = onnxopt.run(model, preset)
    assert not onnxopt.run(first.graph, preset).context.rewrites
