from __future__ import annotations

import numpy as np
import pytest

from onnxopt.folding.proven_shapes import proven_types
from onnxopt.passes.fold_constants import FoldConstants
from tests.folding.models import HEAD, body, model, op, ops
from tests.passes.checks import check_pass, parse, run_pass

FOLD = FoldConstants()


def test_a_shape_follows_through_operators_and_not_from_stale_declarations() -> None:
    graph = parse(f"""{HEAD} m (float[2,3] x, float[n] d) => (int64[2] s, int64[1] t)
        <float[9,9] flipped, float[7] twice> {{
        flipped = Transpose(x)
        s = Shape(flipped)
        twice = Concat <axis = 0> (d, d)
        t = Shape(twice)
    }}""")
    _, ctx = run_pass(FOLD, graph)
    assert graph.outputs[0].producer.attrs["value"].read().tolist() == [3, 2]
    assert graph.outputs[1].producer.op == "Shape" and len(ctx.rewrites) == 1


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [("", [2, 3, 5]), ("<start = -2>", [3, 5]), ("<end = -9>", []), ("<start = 1, end = 9>", [3, 5])],
)
def test_start_and_end_of_shape(attributes: str, expected: list[int]) -> None:
    graph = parse(f"{HEAD} m (float[2,3,5] x) => (int64[k] y) {{ y = Shape {attributes} (x) }}")
    check_pass(FOLD, graph)
    assert graph.outputs[0].producer.attrs["value"].read().tolist() == expected


def test_a_shape_in_the_body_of_an_if() -> None:
    graph = parse(f"""{HEAD} m (bool c, float[2,3] x) => (int64[2] y) {{
        y = If (c) <
            then_branch = t () => (int64[2] tt) {{ f = Transpose(x) tt = Shape(f) }},
            else_branch = e () => (int64[2] ee) {{ ee = Shape(x) }}
        >
    }}""")
    check_pass(FOLD, graph)
    assert ops(graph) == ["If", "Transpose", "Constant", "Constant"]


def test_a_chain_of_shapes_and_reshapes_takes_no_session_a_link() -> None:
    nodes = [op("Identity", "w", "r0")]
    for i in range(200):
        nodes += [
            op("Shape", f"r{i}", f"s{i}"),
            op("Gather", f"s{i} flip", f"g{i}"),
            op("Reshape", f"r{i} g{i}", f"r{i + 1}"),
        ]
    graph = model([*nodes, op("MatMul", "x r200", "y")], {"w": np.ones((2, 1), np.float32), "flip": np.array([1, 0])})
    ctx = check_pass(FOLD, graph)
    assert len(graph.nodes) == 1 and ctx.statistics["fold-constants: onnxruntime sessions"] <= 2


def test_values_of_long_vectors_are_not_followed_as_shapes() -> None:
    """onnx's inference would make 500 million dimensions of it."""
    text = (
        "long = ConstantOfShape(n) more = Cast <to = 7> (long) size = Size(more) s = Cast <to = 1> (size) y = Add(x, s)"
    )
    graph = body(text, "int64[1] n = {500000000}")
    known = {tensor.name for tensor in proven_types(graph)}
    assert {"long", "more", "size", "y"} <= known
