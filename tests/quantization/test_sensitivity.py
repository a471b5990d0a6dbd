"""How noisy single layers are, and how few of them in float make a model good enough."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.data import DataSet, inputs_of
from onnxopt.data.dataset import data_set
from onnxopt.data.metrics import snr
from onnxopt.data.scoring import Metric
from onnxopt.errors import BadData, BadOption, CheckFailed
from onnxopt.passes.calibrate import Calibrate
from onnxopt.passes.quantize import Quantize
from onnxopt.pipeline.base import Context
from onnxopt.quantization.ranges import Ranges
from onnxopt.quantization.sensitivity import Sensitivity, allowed_drop, fewest
from onnxopt.runtime.evaluation import Accuracy
from onnxopt.runtime.session import Session
from tests.passes.checks import run_pass
from tests.passes.quantize_models import model, read_by, samples

WEIGHTS = "float[8,8,1,1] w1, float[8,8,1,1] w2, float[8,8,1,1] w3"
CHAIN = "[one] a = Conv (x, w1) b = Relu (a) [two] c = Conv (b, w2) [three] y = Conv (c, w3)"


def noisy(opset: int = 17) -> ir.Graph:
    """Three layers; the last has a large weight, of a channel that is always 0, and one scale for all its weights."""
    graph = model(CHAIN, WEIGHTS, opset=opset)
    _, two, three = (node for node in graph.nodes if node.op == "Conv")
    dead, large = two.inputs[1].read().copy(), three.inputs[1].read().copy()
    dead[0] = 0
    large[0, 0] = 20
    two.inputs[1].values, three.inputs[1].values = dead, large
    return graph


def searched(graph: ir.Graph, target: str = "onnx", data: DataSet | None = None, **options: Any) -> Sensitivity:
    data = data or samples(graph)
    _, ctx = run_pass(Quantize(per_channel=False, **options), graph, data=data, target=target)
    found = ctx.kept(Sensitivity)
    assert found is not None
    return found


def test_the_noisiest_layer_stays_in_float() -> None:
    graph = noisy()
    found = searched(graph, keep_float=("auto",), max_drop=0.0005)
    assert (found.layers[0].name, found.layers[0].kept) == ("Conv three", True)
    assert (found.kept, found.precision) == (1, "float")
    assert found.all_quantized.drop > 0.0005 >= found.chosen.drop
    assert [weight for _, weight in read_by(graph, "Conv")] == ["int8", "int8", "float"]


def test_a_layer_alone_is_measured_with_all_others_in_float() -> None:
    graph = noisy()
    data = samples(graph)
    found = {layer.name: layer.snr for layer in searched(graph.copy(), keep_float=("auto",), data=data).layers}
    before = graph.copy()
    run_pass(Quantize(per_channel=False, keep_float=("one", "two")), graph, data=data, target="onnx")
    one, other = (Session(ir.to_proto(each), optimize=True) for each in (before, graph))
    feeds = list(data.batches())
    alone = snr(*(np.stack([session.run(fed)["y"] for fed in feeds]) for session in (one, other)))
    assert found["Conv three"] == pytest.approx(alone, abs=0.01)
    assert list(found.values()) == sorted(found.values())


def test_where_nothing_needs_to_be_kept_everything_is_quantized() -> None:
    graph = noisy()
    found = searched(graph, keep_float=("auto",), max_drop=0.9)
    assert found.kept == 0 and found.chosen == found.all_quantized
    plain = noisy()
    run_pass(Quantize(per_channel=False), plain, data=samples(plain), target="onnx")
    assert ir.to_text(plain) == ir.to_text(graph)


def test_activations_of_16_bits_instead_of_float() -> None:
    graph = model(CHAIN, WEIGHTS, opset=21)
    found = searched(graph, target="qnn", wide=("auto",), metric="cosine", max_drop=0.0001)
    assert found.precision == "uint16" and found.kept > 0
    assert any("uint16" in types for types in read_by(graph, "Conv"))


def test_what_16_bits_cannot_hold_is_told() -> None:
    with pytest.raises(
        CheckFailed, match=r"with all 3 layers in 16-bit activations, cosine is still .* max-drop=1e-09"
    ):
        searched(noisy(21), target="qnn", wide=("auto",), max_drop=1e-9)


def test_what_is_kept_is_explained_and_counted() -> None:
    graph = noisy()
    _, ctx = run_pass(
        Quantize(per_channel=False, keep_float=("auto",), max_drop=0.0005), graph, data=samples(graph), target="onnx"
    )
    assert any(r.where == "Conv three" and r.what.startswith("kept in float: quantized alone") for r in ctx.refusals)
    assert [count for what, count in ctx.statistics.items() if what.endswith("layers kept in float")] == [1]


def test_nodes_that_the_user_names_are_left_out_too() -> None:
    graph = noisy()
    found = searched(graph, keep_float=("auto", "one"), max_drop=0.9)
    assert {layer.name for layer in found.layers} == {"Conv two", "Conv three"}
    assert read_by(graph, "Conv")[0] == ["float", "float"]


def test_ranges_that_calibrate_left_are_used() -> None:
    graph = noisy()
    ctx = Context("onnx", samples(graph))
    Calibrate(method="mse").run(graph, ctx)
    Quantize(per_channel=False, keep_float=("auto",), max_drop=0.0005).run(graph, ctx)
    ranges, found = ctx.kept(Ranges), ctx.kept(Sensitivity)
    assert ranges is not None and ranges.method == "mse" and found is not None and found.kept == 1


def labelled(graph: ir.Graph, wrong: bool = False) -> DataSet:
    """Samples of class 0 and 1 for a model that tells them apart by far."""
    rng = np.random.default_rng(1)
    rows = []
    for index in range(8):
        label = index % 2
        x = np.zeros(4, np.float32)
        x[label] = 1 + rng.random(dtype=np.float32)
        rows.append({"x": x, "label": np.asarray(1.5 if wrong else label)})
    return data_set("rows", inputs_of(ir.to_proto(graph)), lambda: iter(rows), len(rows))


def classifier() -> ir.Graph:
    return model("y = MatMul (x, w)", "float[4,3] w", data="float[N,4] x", rank=2)


def test_labels_make_top1_the_metric() -> None:
    graph = classifier()
    found = searched(graph, keep_float=("auto",), data=labelled(graph))
    assert found.all_quantized.metric.name == "top1" and found.max_drop == 0.2
    other = classifier()
    assert searched(other, keep_float=("auto",), data=labelled(other, wrong=True)).chosen.metric.name == "cosine"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_drop": 0.0}, "max-drop is for keep-float=auto or wide=auto"),
        ({"metric": "top1"}, "metric is for keep-float=auto or wide=auto"),
        ({"keep_float": ("auto",), "wide": ("auto",)}, "keep-float=auto and wide=auto exclude each other"),
    ],
)
def test_options_that_would_do_nothing(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Quantize(**options)


@pytest.mark.parametrize(
    ("options", "target", "reason"),
    [
        ({"keep_float": ("auto",), "metric": "top1"}, "onnx", "top1 needs labels"),
        ({"keep_float": ("auto",), "metric": "snr"}, "onnx", "a drop of snr needs a target"),
        ({"keep_float": ("auto",), "metric": "top5"}, "onnx", "there is no metric 'top5'"),
        ({"keep_float": ("auto",), "metric": "math:sqrt"}, "onnx", "give max-drop: how much math:sqrt may lose"),
        ({"keep_float": ("auto",), "max_drop": -1.0}, "onnx", "a drop of -1.0 cannot be allowed"),
        ({"wide": ("auto",)}, "tensorrt", "the target has no wider integers"),
        ({"wide": ("auto",)}, "qnn", "QuantizeLinear to uint16 needs opset 21"),
    ],
)
def test_what_cannot_be_searched_for(options: dict[str, Any], target: str, reason: str) -> None:
    graph = model(CHAIN, WEIGHTS)
    with pytest.raises((BadOption, BadData), match=reason):
        run_pass(Quantize(**options), graph, data=samples(graph), target=target)


def test_without_data_there_is_nothing_to_judge_on() -> None:
    with pytest.raises(BadOption, match="quantize needs calibration data: give --data"):
        run_pass(Quantize(keep_float=("auto",)), model(CHAIN, WEIGHTS))


@pytest.mark.parametrize(
    ("needed", "tried"),
    [((), 0), ((0,), 1), ((0, 1, 2), 6), ((3,), 7), (tuple(range(16)), 23)],
)
def test_the_fewest_are_found_in_few_steps(needed: tuple[int, ...], tried: int) -> None:
    """A layer is noisy that is not needed: it is quantized after all."""
    order = [ir.Node("Conv", name=str(index)) for index in range(16)]
    wanted = {order[index] for index in needed}
    count = 0

    def judge(nodes: Collection[ir.Node]) -> Accuracy:
        nonlocal count
        count += 1
        return accuracy(0.0 if wanted <= set(nodes) else 1.0)

    kept, found = fewest(order, accuracy(0.0 if not wanted else 1.0), judge, 0.5)
    assert kept == wanted and found.drop == 0 and count <= tried


def accuracy(drop: float) -> Accuracy:
    data = data_set("none", [], lambda: iter([{}]), 1)
    return Accuracy(Metric.of("cosine", data), 1.0, 1.0 - drop, 1, "none", {})


def test_a_drop_may_be_left_to_the_metric() -> None:
    data = data_set("none", [], lambda: iter([{"t": np.zeros(3)}]), 1)
    assert allowed_drop(Metric.of("psnr:255", data, "t"), None) == 0.15
    assert allowed_drop(Metric.of("cosine", data), 0.5) == 0.5
