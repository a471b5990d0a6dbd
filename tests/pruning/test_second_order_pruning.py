"""Layers pruned to second order: what they give out on the data is kept, and zeros are zeros."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest

from onnxopt import ir
from onnxopt.activations.second_order import SecondOrder, gathered
from onnxopt.activations.streaming import stream
from onnxopt.data import DataSet
from onnxopt.errors import BadOption
from onnxopt.ir.proven import ProvenShapes
from onnxopt.linear.layer import Layer, is_layer, read_layer
from onnxopt.linear.match import NoMatch
from onnxopt.linear.setting import Setting
from onnxopt.pipeline.base import Context
from onnxopt.pruning import by_second_order as together_module
from onnxopt.pruning import second_order_pruning
from onnxopt.pruning.by_second_order import by_second_order
from onnxopt.pruning.on_data import Pruned
from onnxopt.pruning.patterns import Pattern, select
from onnxopt.pruning.prunable import prunable
from onnxopt.pruning.second_order_pruning import error_of, fit_layer, increments, prune_layer
from tests.passes.accuracy_models import IMAGE, TOKENS, arrays, filled
from tests.quantization.calibrated import samples_for

ANY = Pattern()
IMAGES, VECTORS = "float[N, 4, 9, 9] x", "float[N, 12] x"
LAYERS = {
    "a 3x3 convolution": (IMAGES, "float[6, 4, 3, 3] w1, float[6] b1", "Conv <pads=[1,1,1,1]> (x, w1, b1)"),
    "strided": (IMAGES, "float[6, 4, 3, 3] w1, float[6] b1", "Conv <strides=[2,2], dilations=[2,2]> (x, w1, b1)"),
    "depthwise": (IMAGES, "float[4, 1, 3, 3] w1, float[4] b1", "Conv <group=4> (x, w1, b1)"),
    "in groups": (IMAGES, "float[6, 2, 3, 3] w1", "Conv <group=2> (x, w1)"),
    "1-d": ("float[N, 4, 9] x", "float[6, 4, 3] w1, float[6] b1", "Conv (x, w1, b1)"),
    "Gemm": (VECTORS, "float[12, 8] w1, float[8] b1", "Gemm (x, w1, b1)"),
    "Gemm with transB": (VECTORS, "float[8, 12] w1, float[8] b1", "Gemm <transB=1> (x, w1, b1)"),
    "Gemm with alpha": (VECTORS, "float[12, 8] w1, float[8] b1", "Gemm <alpha=0.5> (x, w1, b1)"),
    "MatMul": ("float[N, 5, 12] x", "float[12, 8] w1", "MatMul (x, w1)"),
}


def graph_of(layer: str) -> ir.Graph:
    """A model of one layer, y."""
    data, weights, call = LAYERS[layer]
    rank = data.count(",") + 1
    dims = ", ".join(f"D{axis}" for axis in range(rank))
    return filled(
        f'<ir_version: 8, opset_import: ["": 17]> g ({data}) => (float[{dims}] y) <{weights}> {{ y = {call} }}'
    )


def data_of(graph: ir.Graph, count: int = 64) -> DataSet:
    """Correlated samples, of which the mean is not zero."""
    rng = np.random.default_rng(7)
    shape = [size for size in graph.inputs[0].shape or [] if isinstance(size, int)]
    if len(shape) == 1:
        mix = rng.normal(size=(shape[0], shape[0]))
        return samples_for(graph, [np.asarray(mix @ rng.normal(size=shape) + 1, np.float32) for _ in range(count)])
    return samples_for(graph, [one + np.float32(0.5) for one in arrays(graph, count)])


def layers(graph: ir.Graph) -> Iterator[Layer]:
    """All of a graph."""
    ctx = Context()
    setting = Setting(ctx.analysis(ProvenShapes, graph), ctx.dialect)
    return (read_layer(node, graph.opset, setting) for node in graph.nodes if is_layer(node))


def seen_layer(graph: ir.Graph, data: DataSet) -> tuple[Layer, SecondOrder]:
    """The first layer, and its data."""
    (found,) = gathered(graph, [next(layers(graph))], lambda layer: layer, data)
    return found


def outputs(graph: ir.Graph, data: DataSet) -> np.ndarray:
    """The first output."""
    name = graph.outputs[0].name
    return np.concatenate([np.array(values[name], np.float64) for values in stream(graph, [name], data)])


def changed(graph: ir.Graph, layer: Layer, weight: np.ndarray, bias: np.ndarray | None) -> ir.Graph:
    """A copy with other weights in its first layer."""
    twin = graph.copy()
    with ir.edit(twin) as edit:
        next(layers(twin)).write(edit, weight, bias)
    return twin


def lost(graph: ir.Graph, data: DataSet, layer: Layer, weight: np.ndarray, bias: np.ndarray | None) -> float:
    """The mean square error of the outputs, by onnxruntime."""
    return float(np.square(outputs(changed(graph, layer, weight, bias), data) - outputs(graph, data)).mean())


def rows(layer: Layer, array: np.ndarray) -> np.ndarray:
    """As [outputs, inputs * kernel]."""
    return layer.canonical(array).reshape(layer.outputs, -1)


def by_magnitude(layer: Layer, share: float, pattern: Pattern = ANY) -> np.ndarray:
    """The usual choice."""
    keep = np.empty(layer.weight.shape, np.bool_)
    view = layer.canonical(keep)
    kernel = int(np.prod(layer.weight.shape[2:]))
    if layer.node.op != "Conv":
        kernel = 1
    view[...] = select(np.abs(rows(layer, layer.weight.read())), share, pattern, kernel).reshape(view.shape)
    return keep


@pytest.fixture(params=["exact", "rounds", "sweep"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small layers are pruned exactly, larger ones in rounds, the largest in a sweep."""
    if request.param != "exact":
        monkeypatch.setattr(second_order_pruning, "_EXACT", 0)
    if request.param == "sweep":
        monkeypatch.setattr(second_order_pruning, "_IN_ROUNDS", 0)
        monkeypatch.setattr(second_order_pruning, "_SOLVED", 0)
    return str(request.param)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_less_is_lost_than_by_magnitude(name: str, share: float, way: str) -> None:
    graph = graph_of(name)
    data = data_of(graph)
    layer, seen = seen_layer(graph, data)
    weight, bias, keep = prune_layer(layer, seen, share, ANY)
    assert weight.dtype == layer.weight.dtype
    assert not weight[~keep].any()
    assert (~keep).sum() == round(share * keep.size)
    masked = np.where(by_magnitude(layer, share), layer.weight.read(), np.float32(0))
    if way != "sweep" or layer.inputs < 12:  # a sweep of so few weights is no better
        assert lost(graph, data, layer, weight, bias) < lost(graph, data, layer, masked, None)


@pytest.mark.parametrize("name", LAYERS)
def test_a_fit_to_a_mask_is_least_squares(name: str) -> None:
    graph = graph_of(name)
    data = data_of(graph)
    layer, seen = seen_layer(graph, data)
    keep = by_magnitude(layer, 0.5)
    weight, bias = fit_layer(layer, seen, keep)
    least = lost(graph, data, layer, weight, bias)
    rng = np.random.default_rng(0)
    for _ in range(5):  # any other weights are worse: it is the least there is
        other = np.where(keep, weight * (1 + 0.05 * rng.normal(size=weight.shape)), 0).astype(np.float32)
        assert lost(graph, data, layer, other, bias) > 0.99 * least
    masked = np.where(keep, layer.weight.read(), np.float32(0))
    assert least < lost(graph, data, layer, masked, None)


@pytest.mark.parametrize("name", ["a 3x3 convolution", "depthwise", "Gemm"])
def test_the_bias_takes_the_mean_of_the_error(name: str) -> None:
    graph = graph_of(name)
    data = data_of(graph)
    layer, seen = seen_layer(graph, data)
    weight, bias, _ = prune_layer(layer, seen, 0.6, ANY)
    error = outputs(changed(graph, layer, weight, bias), data) - outputs(graph, data)
    axes = (0, *range(2, error.ndim))
    assert np.abs(error.mean(axis=axes)).max() < 0.05 * np.sqrt(np.square(error).mean())


@pytest.mark.parametrize("text", ["2:4", "2x1", "3x2", "1x3"])
@pytest.mark.parametrize("name", ["a 3x3 convolution", "Gemm", "MatMul"])
def test_patterns(name: str, text: str, way: str) -> None:
    pattern = Pattern.parse(text)
    graph = graph_of(name)
    data = data_of(graph)
    layer, seen = seen_layer(graph, data)
    weight, bias, keep = prune_layer(layer, seen, 0.5, pattern)
    assert not weight[~keep].any()
    cube = rows(layer, keep).reshape(layer.outputs, layer.inputs, -1)
    if pattern.of:
        assert (cube.reshape(layer.outputs, -1, 4, cube.shape[-1]).sum(axis=2) == 2).all()
    for top in range(0, layer.outputs if pattern.is_block else 0, pattern.outputs):
        for left in range(0, layer.inputs, pattern.inputs):
            block = cube[top : top + pattern.outputs, left : left + pattern.inputs]
            assert (block == block[:1, :1]).all()
    masked = np.where(by_magnitude(layer, 0.5, pattern), layer.weight.read(), np.float32(0))
    slack = 1.1 if way == "sweep" else 1.0
    assert lost(graph, data, layer, weight, bias) < slack * lost(graph, data, layer, masked, None)


def test_exact_is_better_than_rounds_and_rounds_than_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of("a 3x3 convolution")
    layer, seen = seen_layer(graph, data_of(graph))
    exact = error_of(layer, seen, prune_layer(layer, seen, 0.6, ANY)[0])
    monkeypatch.setattr(second_order_pruning, "_EXACT", 0)
    rounds = error_of(layer, seen, prune_layer(layer, seen, 0.6, ANY)[0])
    monkeypatch.setattr(second_order_pruning, "_IN_ROUNDS", 0)
    assert exact < rounds < error_of(layer, seen, prune_layer(layer, seen, 0.6, ANY)[0])


def test_zeros_that_are_there_stay_and_count(way: str) -> None:
    graph = graph_of("Gemm")
    layer, seen = seen_layer(graph, data_of(graph))
    before = by_magnitude(layer, 0.4)
    layer.weight.values = np.where(before, layer.weight.read(), np.float32(0))
    weight, _, keep = prune_layer(layer, seen, 0.5, ANY)
    assert not (keep & ~before).any()
    assert (weight == 0).sum() == weight.size // 2
    assert (rows(layer, before) == ~np.isneginf(increments(layer, seen, ANY))).all()


def test_a_mask_that_is_given_counts_as_zeros() -> None:
    graph = graph_of("Gemm")
    layer, seen = seen_layer(graph, data_of(graph))
    already = by_magnitude(layer, 0.3)
    assert not (prune_layer(layer, seen, 0.5, ANY, already)[2] & ~already).any()


def test_data_that_tell_nothing(way: str) -> None:
    graph = graph_of("Gemm")
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(32, 12)).astype(np.float32)
    samples[:, 3] = 0  # dead
    samples[:, 5] = 2  # constant: the bias can take it
    samples[:, 7] = samples[:, 8]
    layer, seen = seen_layer(graph, samples_for(graph, list(samples)))
    weight, bias, keep = prune_layer(layer, seen, 0.25, ANY)
    assert np.isfinite(weight).all()
    assert bias is not None
    assert np.isfinite(bias).all()
    assert (~rows(layer, keep)[:, [3, 5]]).mean() > (0.8 if way == "exact" else 0)
    if way == "exact":
        assert error_of(layer, seen, weight) < 1e-3
    nothing = samples_for(graph, [np.zeros(12, np.float32)] * 4)
    assert np.isfinite(prune_layer(*seen_layer(graph, nothing), 0.5, ANY)[0]).all()


def test_fewer_samples_than_weights(way: str) -> None:
    graph = graph_of("Gemm")
    layer, seen = seen_layer(graph, data_of(graph, count=3))
    weight, bias, _ = prune_layer(layer, seen, 0.5, ANY)
    assert np.isfinite(weight).all()
    assert np.abs(weight).max() < 10 * np.abs(layer.weight.read()).max()
    assert bias is not None


def test_float16() -> None:
    rng = np.random.default_rng(0)
    half = onnx.TensorProto.FLOAT16
    weights = [
        onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float16), name)
        for name, shape in (("w", (4, 4)), ("b", (4,)))
    ]
    ends = [onnx.helper.make_tensor_value_info(name, half, ["N", 4]) for name in "xy"]
    node = onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"])
    whole = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], weights)
    opsets = [onnx.helper.make_opsetid("", 17)]
    graph = ir.from_proto(onnx.helper.make_model(whole, opset_imports=opsets, ir_version=8))
    data = samples_for(graph, list(rng.normal(size=(40, 4)).astype(np.float16)))
    layer, seen = seen_layer(graph, data)
    weight, bias, keep = prune_layer(layer, seen, 0.5, ANY)
    assert weight.dtype == np.float16
    assert bias is not None
    assert bias.dtype == np.float16
    assert not weight[~keep].any()


def test_no_data_is_said() -> None:
    graph = graph_of("Gemm")
    layer = next(layers(graph))
    with pytest.raises(NoMatch, match="no data came"):
        prune_layer(layer, SecondOrder(layer, 0), 0.5, ANY)


def model(text: str = IMAGE) -> tuple[ir.Graph, Context]:
    """A model of some layers, and a context with data."""
    graph = filled(text)
    return graph, Context(None, samples_for(graph, arrays(graph)))


def prune_model(graph: ir.Graph, ctx: Context, share: float = 0.5, *, together: bool = False) -> list[Pruned]:
    """What becomes of its weights, written one after the other."""
    wanted = [(target, share) for target in prunable(graph, ctx.refuse)]
    found = []
    with ir.edit(graph) as edit:
        for pruned in by_second_order(graph, wanted, ANY, ctx, together=together, samples=None):
            found.append(pruned)
            if pruned.layer is not None:
                pruned.layer.write(edit, pruned.weight, pruned.bias)
    return found


def error_of_model(share: float, *, together: bool) -> float:
    """On samples that the pruning did not see."""
    graph, ctx = model()
    unseen = samples_for(graph, arrays(graph, 32)[16:])
    before = outputs(graph, unseen)
    prune_model(graph, ctx, share, together=together)
    return float(np.square(outputs(graph, unseen) - before).mean())


@pytest.mark.parametrize("together", [False, True])
def test_a_model_loses_the_share(together: bool) -> None:
    graph, ctx = model()
    found = prune_model(graph, ctx, together=together)
    size = sum(pruned.keep.size for pruned in found)
    zeros = [int((pruned.weight == 0).sum()) for pruned in found if pruned.weight is not None]
    assert len(zeros) == 4
    assert sum(zeros) == round(0.5 * size)
    if not together:
        assert zeros == [round(0.5 * pruned.keep.size) for pruned in found]


def test_together_they_lose_less() -> None:
    assert error_of_model(0.5, together=True) < error_of_model(0.5, together=False)


@pytest.mark.parametrize("together", [False, True])
def test_moments_in_many_runs_are_those_of_one(together: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, ctx = model()
    wanted = [(target, 0.5) for target in prunable(graph, ctx.refuse)]
    once = list(by_second_order(graph, wanted, ANY, ctx, together=together, samples=None))
    monkeypatch.setattr(together_module, "BYTES", 0)
    again = list(by_second_order(graph, wanted, ANY, ctx, together=together, samples=None))
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one.keep, other.keep)
        np.testing.assert_allclose(one.weight, other.weight)


def test_the_graph_is_left_alone_by_measuring() -> None:
    graph, ctx = model()
    before = ir.fingerprint(graph)
    wanted = [(target, 0.5) for target in prunable(graph, ctx.refuse)]
    assert len(list(by_second_order(graph, wanted, ANY, ctx, together=True, samples=None))) == 4
    assert ir.fingerprint(graph) == before


def test_without_measuring_errors_count_as_parts_of_what_layers_give_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxopt.pruning.layer_importance._WORK", 0)
    graph, ctx = model()
    found = prune_model(graph, ctx, together=True)
    assert sum(int((~pruned.keep).sum()) for pruned in found) == round(0.5 * sum(one.keep.size for one in found))


def test_products_of_three_axes() -> None:
    graph, ctx = model(TOKENS)
    found = prune_model(graph, ctx)
    assert [pruned.bias for pruned in found] == [None, None]


def test_what_is_not_seen_is_pruned_by_magnitude_and_said() -> None:
    graph = filled(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 3, 6, 6] x) => (float[N, 2, 6, 6] y)
        <float[3, 2, 1, 1] w1> { y = ConvTranspose (x, w1) }"""
    )
    ctx = Context(None, samples_for(graph, arrays(graph)))
    (pruned,) = prune_model(graph, ctx)
    assert pruned.weight is None
    assert (~pruned.keep).sum() == 3
    assert "pruned by magnitude: y: the data of ConvTranspose are not seen as columns" in str(ctx.__dict__)


def test_data_are_needed() -> None:
    graph, _ = model()
    with pytest.raises(BadOption, match=r"prune\{method=second-order\} needs calibration data: give --data"):
        prune_model(graph, Context())
