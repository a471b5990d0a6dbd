"""`share-initializers`: equal initializers are one, and no weight is read without need."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.ir import digest as digests
from onnxopt.passes import share_initializers
from onnxopt.passes.share_initializers import ShareInitializers
from tests.passes.checks import check_golden, check_pass, check_refusal, parse, run_pass

SHARE = ShareInitializers()
HEAD = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'
X = {"x": np.array([1, -2], np.float32)}


def weights(graph: ir.Graph) -> list[str]:
    return [tensor.name for tensor in ir.to_proto(graph).graph.initializer]


def sum_of(arrays: dict[str, np.ndarray | TensorProto], shape: list[int]) -> ir.Graph:
    """A model that adds all of them to x, which is float32 of `shape`."""
    protos = [
        array if isinstance(array, TensorProto) else numpy_helper.from_array(array, name)
        for name, array in arrays.items()
    ]
    graph = helper.make_graph(
        [helper.make_node("Sum", ["x", *arrays], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        protos,
    )
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def test_golden() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y)
        <float one = {{1}}, float uno = {{1}}, int64 eins = {{1}}, float[1] ein = {{1}}, float two = {{2}},
         float[2] w = {{1, 2}}, float[2] v = {{1, 2}}, float un = {{1}}> {{
            a = Mul (x, uno) b = Add (a, one) c = Mul (b, ein) d = Mul (c, two) e = Mul (d, w) f = Mul (e, v)
            h = Cast <to = 1> (eins) i = Add (f, h) y = Add (i, un)
        }}
    """)
    check_golden(SHARE, graph, "scalars of one type and shape, and vectors")


def test_the_first_keeps_its_name_and_everybody_reads_it() -> None:
    graph = sum_of({name: np.full(2, 3, np.float32) for name in "abc"}, [2])
    ctx = check_pass(SHARE, graph)
    assert weights(graph) == ["a"]
    assert [rewrite.where for rewrite in ctx.rewrites] == ["b", "c"]
    assert ctx.statistics == {"share-initializers: bytes": 16}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.zeros(2, np.float32), -np.zeros(2, np.float32)),
        (np.zeros((1, 2), np.float32), np.zeros(2, np.float32)),
        (np.array([1, 2], np.float32), np.array([1, 3], np.float32)),
    ],
)
def test_what_differs_in_a_bit_or_in_shape_stays(one: np.ndarray, other: np.ndarray) -> None:
    graph = sum_of({"a": one, "b": other}, [1, 2])
    check_pass(SHARE, graph, expect_change=False)
    assert weights(graph) == ["a", "b"]


def test_nan_of_the_same_bits_is_shared() -> None:
    check_pass(SHARE, sum_of({name: np.array([np.nan, 1], np.float32) for name in "ab"}, [2]))


def test_types_of_equal_bytes_stay_apart() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) <int32[2] i = {{0, 0}}, float[2] f = {{0, 0}}, uint32[2] u = {{0, 0}}> {{
            a = Cast <to = 1> (i) b = Cast <to = 1> (u) c = Add (a, b) d = Add (c, f) y = Add (d, x)
        }}
    """)
    check_pass(SHARE, graph, expect_change=False)


def test_equal_content_in_different_fields_of_the_file() -> None:
    values = np.arange(2000, dtype=np.float32)
    listed = TensorProto(name="b", dims=[2000], data_type=TensorProto.FLOAT, float_data=values.tolist())
    graph = sum_of({"a": values, "b": listed, "c": values + 1}, [2000])
    check_pass(SHARE, graph)
    assert weights(graph) == ["a", "c"]


def test_new_constants_of_a_pass() -> None:
    graph = sum_of({"a": np.arange(2000, dtype=np.float32)}, [2000])
    with ir.edit(graph):
        graph.nodes[0].inputs.append(ir.Constant("new", np.arange(2000, dtype=np.float32)))
    check_pass(SHARE, graph)
    assert weights(graph) == ["a"]


def test_strings_and_four_bit_integers() -> None:
    strings = [helper.make_tensor(name, TensorProto.STRING, [2], [b"p", b"\xff"]) for name in "ab"]
    ints = [numpy_helper.from_array(np.ones(3000, ml_dtypes.int4), name) for name in "cd"]
    graph = helper.make_graph(
        [
            helper.make_node("Equal", ["a", "b"], ["y"]),
            helper.make_node("Concat", ["c", "d"], ["z"], axis=0),
        ],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.BOOL, [2]), helper.make_empty_tensor_value_info("z")],
        [*strings, *ints],
    )
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    changed, _ = run_pass(SHARE, model)
    assert changed and weights(model) == ["a", "c"]


def test_small_ones_are_shared_within_a_scope_large_ones_between_scopes() -> None:
    """Shape inference sees no outer value: a shape stays in the body that reads it."""
    big = "{" + ", ".join(["1"] * 300) + "}"
    graph = parse(f"""
        {HEAD} g (float[300] x, bool c) => (float[300] y)
        <float[300] w = {big}, int64[1] s = {{-1}}> {{
            z = Reshape (x, s) v = Mul (z, w)
            y = If (c) <
                then_branch = t () => (float[300] t1)
                    <float[300] w1 = {big}, int64[1] s1 = {{-1}}, int64[1] s2 = {{-1}}>
                    {{ a = Mul (v, w1) b = Reshape (a, s1) t1 = Reshape (b, s2) }},
                else_branch = e () => (float[300] e1) <float[300] w2 = {big}> {{ e1 = Add (v, w2) }}
            >
        }}
    """)
    check_pass(SHARE, graph, {"x": np.arange(300, dtype=np.float32), "c": np.array(True)})
    proto = ir.to_proto(graph)
    assert weights(graph) == ["w", "s"]
    branches = [attribute.g for attribute in proto.graph.node[-1].attribute]
    assert [[tensor.name for tensor in branch.initializer] for branch in branches] == [["s1"], []]


def test_between_sibling_bodies_the_graph_around_them_takes_it() -> None:
    big = "{" + ", ".join(["1"] * 300) + "}"
    graph = parse(f"""
        {HEAD} g (float[300] x, bool c) => (float[300] y) {{
            y = If (c) <
                then_branch = t () => (float[300] t1) <float[300] w = {big}> {{ t1 = Mul (x, w) }},
                else_branch = e () => (float[300] e1) <float[300] w = {big}> {{ e1 = Add (x, w) }}
            >
        }}
    """)
    check_pass(SHARE, graph, {"x": np.arange(300, dtype=np.float32), "c": np.array(True)})
    assert weights(graph) == ["w"]


def test_constants_of_a_function_are_shared_with_that_function_alone() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) <float[2] w = {{1, 2}}> {{ z = Add (x, w) y = local.f (z) }}
        <opset_import: ["" : 17], domain: "local"> f (x) => (r) {{ a = Abs (x) r = Neg (a) }}
    """)
    function = graph.functions[0]
    twins = [ir.Constant(name, np.array([1, 2], np.float32)) for name in ("p", "q")]
    function.nodes[1].op = "Sum"
    function.nodes[1].inputs.extend(twins)
    check_pass(SHARE, graph)
    assert len(function.nodes[1].inputs) == 3
    assert function.nodes[1].inputs[1] is function.nodes[1].inputs[2] is twins[0]


def test_refuses_outputs_of_the_graph() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y, float[2] w, float[2] v) <float[2] w = {{1, 2}}, float[2] v = {{1, 2}}>
        {{ y = Add (x, w) }}
    """)
    check_refusal(SHARE, graph, "'v' is an output")


def test_an_output_may_stand_for_others() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y, float[2] w) <float[2] w = {{1, 2}}, float[2] v = {{1, 2}}>
        {{ y = Add (x, v) }}
    """)
    check_pass(SHARE, graph)
    assert weights(graph) == ["w"] and [tensor.name for tensor in graph.outputs] == ["y", "w"]


def test_an_input_with_a_default_is_no_constant() -> None:
    graph = parse("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}, float[2] v = {1, 2}>
        { a = Add (x, w) y = Add (a, v) }
    """)
    assert isinstance(graph.nodes[0].inputs[1], ir.Variable)
    check_pass(SHARE, graph, {**X, "w": np.array([5, 6], np.float32)}, expect_change=False)


def test_ir_version_3_lists_the_one_that_stays() -> None:
    graph = parse("""
        <ir_version: 3, opset_import: ["" : 8]>
        g (float[2] x, float[2] w, float[2] v) => (float[2] y) <float[2] w = {1, 2}, float[2] v = {1, 2}>
        { a = Add (x, w) y = Add (a, v) }
    """)
    check_pass(SHARE, graph, X)
    model = ir.to_proto(graph)
    assert [info.name for info in model.graph.input] == ["x", "w"]


def test_refuses_what_a_quantization_annotation_names() -> None:
    for annotated in ("w", "v"):
        graph = sum_of({"w": np.ones(2, np.float32), "v": np.ones(2, np.float32)}, [2])
        graph.quantization_annotation.append(onnx.TensorAnnotation(tensor_name=annotated))
        check_refusal(SHARE, graph, "a quantization annotation names one of them")


def test_refuses_a_model_with_training_information() -> None:
    graph = sum_of({"w": np.ones(2, np.float32), "v": np.ones(2, np.float32)}, [2])
    graph.model.training_info.add()
    changed, ctx = run_pass(SHARE, graph)
    assert not changed and "training information" in ctx.refusals[0].what


def test_unread_initializers_are_left_to_others() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y) <float[2] w = {{1, 2}}, float[2] v = {{1, 2}}> {{ y = Add (x, v) }}
    """)
    check_pass(SHARE, graph, expect_change=False)


def test_quantization_keeps_what_it_computes() -> None:
    graph = parse(f"""
        {HEAD} g (float[2] x) => (float[2] y)
        <float s1 = {{0.5}}, uint8 z1 = {{3}}, float s2 = {{0.5}}, uint8 z2 = {{3}}> {{
            a = QuantizeLinear (x, s1, z1) y = DequantizeLinear (a, s2, z2)
        }}
    """)
    check_pass(SHARE, graph)
    assert weights(graph) == ["s1", "z1"]


def external(tmp_path: Path, arrays: dict[str, np.ndarray]) -> ir.Graph:
    count = next(iter(arrays.values())).size
    ir.save(sum_of(arrays, [count]), tmp_path / "m.onnx", external=True)
    return ir.load(tmp_path / "m.onnx")


def test_external_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=5000).astype(np.float32)
    graph = external(tmp_path, {"a": one, "b": one + 1, "c": one.copy()})
    check_pass(SHARE, graph)
    assert weights(graph) == ["a", "b"]


def test_weights_whose_samples_differ_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    graph = external(tmp_path, {name: rng.normal(size=50_000).astype(np.float32) for name in "abcd"})
    read: list[int] = []
    monkeypatch.setattr(digests, "_hash", lambda *_: read.append(1))
    monkeypatch.setattr(share_initializers, "digest", lambda constant: read.append(1) or "")
    run_pass(SHARE, graph)
    assert not read


def test_a_difference_between_the_samples_is_seen(tmp_path: Path) -> None:
    one = np.zeros(50_000, np.float32)
    other = one.copy()
    other[10_000] = 1
    graph = external(tmp_path, {"a": one, "b": other, "c": one.copy()})
    check_pass(SHARE, graph)
    assert weights(graph) == ["a", "b"]


def test_a_limit_leaves_the_rest() -> None:
    graph = sum_of({name: np.full(2, 3, np.float32) for name in "abc"}, [2])
    run_pass(SHARE, graph, limit=1)
    assert weights(graph) == ["a", "c"]


def test_symbolic_dimensions_at_two_bindings() -> None:
    for size in (1, 4):
        graph = parse(f"""
            {HEAD} g (float[N, 2] x) => (float[N, 2] y) <float[2] w = {{1, 2}}, float[2] v = {{1, 2}}>
            {{ a = Add (x, w) y = Mul (a, v) }}
        """)
        check_pass(SHARE, graph, {"x": np.ones((size, 2), np.float32)})


def test_running_statistics_are_written_over_and_not_shared() -> None:
    """onnxruntime computes the new mean in the place of the old one: a bias that shared it would change too."""
    graph = parse(f"""
        {HEAD} g (float[4,3] x) => (float[4,3] y, float[3] z)
        <float[3] s = {{1, 1, 1}}, float[3] b = {{0, 0, 0}}, float[3] m = {{0, 0, 0}}, float[3] v = {{1, 1, 1}},
         float[3] o = {{0, 0, 0}}>
        {{ y, n, w = BatchNormalization <training_mode = 1> (x, s, b, m, v) z = Neg (o) }}""")
    check_pass(SHARE, graph, {"x": np.arange(12, dtype=np.float32).reshape(4, 3)})
    assert weights(graph) == ["s", "b", "m", "v"]
