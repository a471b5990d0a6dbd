"""`fuse-matmul-add` of rank 3 and more: one Gemm of all rows beside a Reshape, or upon a transposed weight."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.passes.fuse_matmul_add import FuseMatmulAdd
from tests.passes.checks import check_golden, check_pass, check_refusal, parse
from tests.passes.random_weights import ops, random_model

FUSE = FuseMatmulAdd()
PROJECTED = "a = MatMul (x, w) s = Add (a, c)"


def tokens(body: str, *, data: str = "b,5,6", output: str = "b,5,2,4", opset: int = 17, extra: str = "") -> ir.Graph:
    return random_model(f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        g (float[{data}] x{extra}) => (float[{output}] y) <float[6,8] w, float[8] c> {{ {body} }}
    """)


def fed(batch: int, *sizes: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=(batch, *(sizes or (5, 6)))).astype(np.float32)}


def test_golden() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[b,3,2] x) => (float[b,3,2,1] y)
        <float[2,2] w = {1, 2, 3, 4}, float[2] c = {5, 6}, int64[4] heads = {0, 3, 2, 1}>
        {
            [dense] a = MatMul (x, w)
            [bias] s = Add (c, a)
            [split] y = Reshape (s, heads)
        }
    """)
    check_golden(FUSE, graph.copy(), "MatMul and Add before a Reshape")
    check_pass(FUSE, graph, {"x": np.ones((2, 3, 2), np.float32)})


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("opset", [9, 13, 21])
def test_before_a_reshape(batch: int, opset: int) -> None:
    graph = tokens(f"h = Constant <value = int64[4] {{0, 5, 2, 4}}> () {PROJECTED} y = Reshape (s, h)", opset=opset)
    check_pass(FUSE, graph, fed(batch))
    assert [op for op in ops(graph) if op != "Constant"] == ["Reshape", "Gemm", "Reshape"]


@pytest.mark.parametrize("batch", [1, 3])
def test_behind_a_reshape(batch: int) -> None:
    body = f"f = Constant <value = int64[3] {{0, 5, 6}}> () x = Reshape (z, f) {PROJECTED} y = Add (s, r)"
    graph = random_model(f"""
        <ir_version: 8, opset_import: ["" : 17]> g (float[b,5,2,3] z, float[b,5,8] r) => (float[b,5,8] y)
        <float[6,8] w, float[8] c> {{ {body} }}
    """)
    check_pass(FUSE, graph, {"z": fed(batch, 5, 2, 3)["x"], "r": fed(batch, 5, 8)["x"]})
    assert [op for op in ops(graph) if op != "Constant"] == ["Reshape", "Gemm", "Reshape", "Add"]


def test_between_two_reshapes_a_node_goes() -> None:
    body = f"""
        f = Constant <value = int64[3] {{0, 5, 6}}> () h = Constant <value = int64[4] {{0, 5, 2, 4}}> ()
        x = Reshape (z, f) {PROJECTED} y = Reshape (s, h)
    """
    graph = random_model(f"""
        <ir_version: 8, opset_import: ["" : 17]> g (float[b,5,2,3] z) => (float[b,5,2,4] y)
        <float[6,8] w, float[8] c> {{ {body} }}
    """)
    check_pass(FUSE, graph, {"z": fed(2, 5, 2, 3)["x"]})
    assert [op for op in ops(graph) if op != "Constant"] == ["Reshape", "Gemm", "Reshape"]


def test_an_empty_batch_stays_empty() -> None:
    graph = tokens(f"h = Constant <value = int64[4] {{0, 5, 2, 4}}> () {PROJECTED} y = Reshape (s, h)")
    check_pass(FUSE, graph, fed(0))


def test_subgraph() -> None:
    graph = random_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[b,5,6] x, bool t) => (float[b,5,2,4] y) <float[6,8] w, float[8] c> {{
            h = Constant <value = int64[4] {{0, 5, 2, 4}}> ()
            y = If (t) <
                then_branch = one () => (float[b,5,2,4] p) {{ {PROJECTED} p = Reshape (s, h) }},
                else_branch = two () => (float[b,5,2,4] q) {{ r = MatMul (x, w) q = Reshape (r, h) }}
            >
        }}
    """)
    check_pass(FUSE, graph, {**fed(2), "t": np.array(True)})
    assert [node.op for scope in ir.every_graph(graph) for node in scope.nodes].count("Gemm") == 1


def test_a_graph_output_in_the_middle_stays() -> None:
    body = f"h = Constant <value = int64[4] {{0, 5, 2, 4}}> () {PROJECTED} y = Reshape (s, h)"
    graph = random_model(f"""
        <ir_version: 8, opset_import: ["" : 17]> g (float[b,5,6] x) => (float[b,5,2,4] y, float[b,5,8] s)
        <float[6,8] w, float[8] c> {{ {body} }}
    """)
    check_pass(FUSE, graph, fed(2), expect_change=False)


@pytest.mark.parametrize(
    ("target", "data", "output", "reason"),
    [
        ("0, 0, 2, 4", "b,5,6", "b,5,2,4", "makes heads"),
        ("0, 0, 8, 1", "b,n,6", "b,n,8,1", "makes heads"),
        ("0, 0, 2, 2, 2", "b,n,6", "b,n,2,2,2", "more than one dimension"),
    ],
)
def test_targets_that_copy(target: str, data: str, output: str, reason: str) -> None:
    rank = target.count(",") + 1
    body = f"h = Constant <value = int64[{rank}] {{{target}}}> () {PROJECTED} y = Reshape (s, h)"
    check_refusal(FUSE, tokens(body, data=data, output=output), reason)


def test_a_target_that_is_computed() -> None:
    graph = tokens(f"{PROJECTED} y = Reshape (s, h)", extra=", int64[4] h")
    ctx = check_pass(FUSE, graph, {**fed(2), "h": np.array([2, 5, 2, 4])}, expect_change=False)
    assert "is not constant" in ctx.refusals[0].what


def test_before_an_activation_the_add_stays() -> None:
    body = f"f = Constant <value = int64[3] {{0, 5, 6}}> () x = Reshape (z, f) {PROJECTED} y = Erf (s)"
    graph = random_model(f"""
        <ir_version: 8, opset_import: ["" : 17]> g (float[b,5,2,3] z) => (float[b,5,8] y)
        <float[6,8] w, float[8] c> {{ {body} }}
    """)
    check_refusal(FUSE, graph, "may look for its Add")


TIED = """
    e = Gather (w, i) [turn] t = Transpose <perm = [1, 0]> (w) [head] y = MatMul (e, t)
"""


def tied(opset: int = 17, data: str = "b,n") -> ir.Graph:
    return random_model(f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        g (int64[{data}] i) => (float[{data},7] y) <float[7,6] w> {{ {TIED} }}
    """)


@pytest.mark.parametrize("sizes", [(1, 4), (3, 2)])
def test_a_weight_that_is_transposed_at_every_run_is_read_as_it_is(sizes: tuple[int, int]) -> None:
    graph = tied()
    check_pass(FUSE, graph, {"i": np.arange(np.prod(sizes), dtype=np.int64).reshape(sizes) % 7})
    assert ops(graph) == ["Gather", "Reshape", "Shape", "Concat", "Gemm", "Reshape"]


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_of_one_symbol_the_target_is_constant(opset: int) -> None:
    graph = tied(opset, "b,4")
    check_pass(FUSE, graph, {"i": np.arange(8, dtype=np.int64).reshape(2, 4) % 7})
    assert ops(graph) == ["Gather", "Reshape", "Gemm", "Reshape"]


def test_older_opsets_keep_the_transpose() -> None:
    check_refusal(FUSE, tied(14), "Shape gives all dimensions")
    check_refusal(FUSE, tied(10, "b,4"), "Gemm needs a bias")
