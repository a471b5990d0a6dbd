"""What reconstruction is made of: least squares of rows with zeros, equations of layers, two models side by side."""

from __future__ import annotations

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.activations.streaming import stream
from onnxopt.ir.proven import ProvenShapes
from onnxopt.linear.layer import Layer, read_layer
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context
from onnxopt.pruning.reconstruction.beside import beside, target_name
from onnxopt.pruning.reconstruction.changed import changed_nodes
from onnxopt.pruning.reconstruction.normal_equations import solve_rows
from onnxopt.pruning.reconstruction.observing import Positions, fits, held_out, seen, wanted
from onnxopt.pruning.reconstruction.regression import Regression
from onnxopt.pruning.teacher import Teacher, remember
from tests.passes.accuracy_models import IMAGE, arrays, filled
from tests.passes.checks import parse, run
from tests.quantization.calibrated import samples_for


def problem(groups: int, rows: int, weights: int, positions: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """x, y, the rows now, and what of them is sought."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(groups, weights, positions))
    y = rng.normal(size=(groups, rows, positions)) + 0.3
    keep = rng.random((groups, rows, weights + 1)) < 0.6
    keep[:, :, -1] = True
    return x, y, rng.normal(size=keep.shape) * keep, keep


def with_one(x: np.ndarray) -> np.ndarray:
    """With a row of ones, for the bias."""
    return np.concatenate([x, np.ones_like(x[:, :1])], axis=1)


@pytest.mark.parametrize("weights", [7, 120])
def test_each_row_is_what_lstsq_finds_for_its_support(weights: int) -> None:
    x, y, start, keep = problem(2, 3, weights, 400)
    one = with_one(x)
    found = solve_rows(one @ one.transpose(0, 2, 1), y @ one.transpose(0, 2, 1), start, keep, 0.0)
    for group in range(2):
        for row in range(3):
            support = keep[group, row]
            expected, *_ = np.linalg.lstsq(one[group][support].T, y[group, row], rcond=None)
            np.testing.assert_allclose(found[group, row, support], expected, rtol=1e-6, atol=1e-8)
            assert not found[group, row, ~support].any()


@pytest.mark.parametrize("weights", [7, 120])
def test_a_strong_ridge_keeps_the_rows_as_they_are(weights: int) -> None:
    x, y, start, keep = problem(2, 3, weights, 400)
    one = with_one(x)
    found = solve_rows(one @ one.transpose(0, 2, 1), y @ one.transpose(0, 2, 1), start, keep, 1e9)
    np.testing.assert_allclose(found, start, atol=1e-5)


@pytest.mark.parametrize("weights", [7, 120])
def test_what_never_has_data_stays_as_it_is(weights: int) -> None:
    x, y, start, keep = problem(1, 3, weights, 400)
    x[:, 2] = 0
    one = with_one(x)
    found = solve_rows(one @ one.transpose(0, 2, 1), y @ one.transpose(0, 2, 1), start, keep, 1e-6)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[:, :, 2], start[:, :, 2])


def test_a_regression_fed_in_parts_is_one() -> None:
    x, y, start, keep = problem(2, 3, 5, 400)
    held = np.arange(400) % 4 == 3
    whole, parts = Regression(2, 3, 5), Regression(2, 3, 5)
    whole.add(x, y, held)
    for first in range(0, 400, 50):
        part = slice(first, first + 50)
        parts.add(x[:, :, part], y[:, :, part], held[part])
    one, other = whole.solve(start, keep), parts.solve(start, keep)
    np.testing.assert_allclose(one.rows, other.rows)
    assert one.after < one.before and one.taken.all()


def test_a_row_that_gets_worse_on_data_held_out_stays() -> None:
    x, y, start, keep = problem(1, 2, 5, 400)
    held = np.arange(400) >= 300
    y[0, 0, held] = (start[0, 0] @ with_one(x)[0])[held]  # there the row is right as it is
    regression = Regression(1, 2, 5)
    regression.add(x, y, held)
    found = regression.solve(start, keep)
    assert found.taken.tolist() == [[False, True]]
    np.testing.assert_array_equal(found.rows[0, 0], start[0, 0])


def test_one_sample_in_four_is_held_out_or_a_quarter_of_few() -> None:
    assert held_out(2, 3, 100, 6).tolist() == [False, False, True, True, False, False]
    assert held_out(0, 1, 2, 8).tolist() == [False] * 6 + [True] * 2


LAYERS = {
    "Conv": ("[N, 4, 7, 8] x", "float[6, 2, 3, 2] w", "Conv <group=2, pads=[1, 0, 2, 1], strides=[2, 1]>"),
    "dilated": ("[N, 4, 9, 9] x", "float[4, 1, 3, 3] w", "Conv <group=4, pads=[2, 2, 2, 2], dilations=[2, 2]>"),
    "SAME_UPPER": ("[N, 2, 7, 8] x", "float[3, 2, 4, 3] w", 'Conv <auto_pad="SAME_UPPER", strides=[2, 2]>'),
    "SAME_LOWER": ("[N, 2, 7, 8] x", "float[3, 2, 4, 2] w", 'Conv <auto_pad="SAME_LOWER", strides=[2, 1]>'),
    "Conv1D": ("[N, 2, 9] x", "float[3, 2, 4] w", "Conv <strides=[3]>"),
    "ConvTranspose": ("[N, 4, 5, 4] x", "float[4, 3, 3, 2] w", "ConvTranspose <group=2, pads=[1, 0, 0, 1]>"),
    "strided": (
        "[N, 2, 5, 4] x",
        "float[2, 3, 3, 3] w",
        "ConvTranspose <strides=[2, 3], dilations=[2, 1], pads=[1, 2, 1, 0], output_padding=[1, 0]>",
    ),
    "Gemm": ("[N, 6] x", "float[6, 4] w", "Gemm"),
    "transposed": ("[N, 6] x", "float[4, 6] w", "Gemm <transB=1>"),
    "MatMul": ("[N, 3, 6] x", "float[6, 4] w", "MatMul"),
}


@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.parametrize("count", [5, 1000])
def test_the_equations_are_those_of_the_layer(case: str, count: int) -> None:
    data, weight, call = LAYERS[case]
    graph = filled(
        f'<ir_version: 8, opset_import: ["": 17]> g (float{data}) => (float y) <{weight}> {{ y = {call}(x, w) }}'
    )
    layer = layer_of(graph, 0)
    shape = [size if isinstance(size, int) else 2 for size in graph.inputs[0].shape or []]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    y = run(ir.to_proto(graph), {"x": x})["y"]
    assert fits(layer, x, y) and not fits(layer, x, y[:1])
    positions = Positions(y.shape[2:] if "Conv" in layer.node.op else (), 3, count)
    weights = layer.canonical(layer.weight.read()).reshape(layer.groups, layer.outputs // layer.groups, -1)
    np.testing.assert_allclose(weights @ seen(layer, x, positions), wanted(layer, y, positions), rtol=1e-4, atol=1e-5)


def layer_of(graph: ir.Graph, index: int) -> Layer:
    """The layer that a node is."""
    return read_layer(graph.nodes[index], graph.opset, Setting(ProvenShapes(graph), Context().dialect))


def test_original_and_model_are_computed_side_by_side() -> None:
    original, model = filled(IMAGE), filled(IMAGE, seed=1)
    both = beside(model, ["r1"], original, ["c3", "r1"])
    assert [node.op for node in both.nodes] == ["Conv", "Relu", "Conv", "Relu", "Conv", "Relu", "Conv"]
    names = ["r1", target_name("r1"), target_name("c3")]
    (found,) = stream(both, names, samples_for(model, arrays(model, 3)))
    for graph, name in ((model, "r1"), (original, "r1"), (original, "c3")):
        expected = next(stream(graph, [name], samples_for(graph, arrays(graph, 3))))[name]
        np.testing.assert_allclose(found[name if graph is model else target_name(name)], expected, atol=1e-5)
    assert len(model.nodes) == len(original.nodes) == 7 and not any("/" in node.name for node in original.nodes)


FUNCTION = """<ir_version: 8, opset_import: ["": 17, "own": 1]> g (float[N, 2] x) => (float[N, 2] y) {{ y = own.f (x) }}
    <opset_import: ["": 17], domain: "own">
    f (a) => (b) {{ c = Constant <value = float {{{value}}}> () b = Mul (a, c) }}"""


def test_each_calls_its_own_functions_and_reads_the_same_subgraphs() -> None:
    original, model = (parse(FUNCTION.format(value=value)) for value in (2, 3))
    (found,) = stream(
        beside(model, ["y"], original, ["y"]), ["y", target_name("y")], samples_for(model, [np.ones(2, np.float32)])
    )
    np.testing.assert_array_equal(found["y"], [[3, 3]])
    np.testing.assert_array_equal(found[target_name("y")], [[2, 2]])


def test_changed_is_what_was_written_and_all_that_follows() -> None:
    graph = filled(IMAGE)
    original = graph.copy()
    assert not changed_nodes(graph, original)
    graph.nodes[2].inputs[1].values = graph.nodes[2].inputs[1].read() * 2
    assert [node.outputs[0].name for node in graph.nodes if node in changed_nodes(graph, original)] == [
        "c2", "r2", "c3", "a", "y",
    ]  # fmt: skip


def test_a_teacher_is_the_first_and_stays_as_it_was() -> None:
    graph, ctx = filled(IMAGE), Context()
    teacher = remember(graph, ctx)
    before = ir.to_text(graph)
    graph.nodes[0].inputs[1].values = graph.nodes[0].inputs[1].read() * 0
    assert remember(graph, ctx) is teacher is ctx.kept(Teacher)
    assert ir.to_text(teacher.graph) == before != ir.to_text(graph)


def test_a_teacher_follows_channels_through_several_passes() -> None:
    teacher = Teacher.of(filled(IMAGE))
    teacher.narrow({"c1": [0, 2, 3, 7]})
    teacher.narrow({"c1": [1, 3], "c3": [0]})
    assert teacher.channels["c1"].tolist() == [2, 7] and teacher.channels["c3"].tolist() == [0]
