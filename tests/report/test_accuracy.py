"""Tables of accuracy and sensitivity: at most 100 columns, whatever the names."""

from __future__ import annotations

import io
import math

from rich.console import Console, RenderableType

from onnxopt import strict_json
from onnxopt.data import DataSet
from onnxopt.data.dataset import data_set
from onnxopt.data.scoring import Metric
from onnxopt.quantization.layerwise import TensorNoise
from onnxopt.quantization.sensitivity import Layer, Sensitivity
from onnxopt.report.accuracy import accuracy_json, accuracy_table, layers_table
from onnxopt.report.sensitivity import sensitivity_json, sensitivity_table
from onnxopt.runtime.evaluation import Accuracy

LONG = "blocks/" + "x" * 200 + "[red]/Conv"


def data(**extras: int) -> DataSet:
    return data_set(LONG, [], lambda: iter([dict(extras)]), 1)


def accuracy(model: float, metric: str = "cosine") -> Accuracy:
    found = Metric.of(metric, data(label=1))
    return Accuracy(found, found.perfect or 98.6, model, 256, LONG, {LONG: 31.25, "y": math.inf})


def lines(view: RenderableType) -> list[str]:
    console = Console(file=io.StringIO(), width=200, markup=False)
    with console.capture() as captured:
        console.print(view)
    found = [line.rstrip() for line in captured.get().splitlines()]
    assert max(map(len, found)) <= 100
    return found


def test_two_models_side_by_side() -> None:
    found = lines(accuracy_table(accuracy(98.4, "top1"), (LONG, LONG), {"weights": (2048, 1024)}))
    assert any(line.split() == ["top1", "98.60", "%", "98.40", "%", "-0.20", "%"] for line in found)
    assert any("31.2 dB" in line for line in found) and any("-50.0 %" in line for line in found)


def test_each_layer_has_a_row() -> None:
    found = lines(layers_table([TensorNoise(LONG, "Conv", 20.0), TensorNoise("b", "Relu", math.nan)]))
    assert "20.0 dB" in found[-2] and found[-1].endswith("NaN")


def test_the_noisiest_layers_and_all_that_were_kept_are_shown() -> None:
    layers = tuple(Layer(f"Conv {LONG}{index}", 10.0 + index, index == 24) for index in range(30))
    found = Sensitivity(layers, "uint16", 0.001, accuracy(0.99), accuracy(0.9995), 16)
    shown = lines(sensitivity_table(found))
    assert sum(line.startswith("Conv") for line in shown) == 25 and any("in uint16" in line for line in shown)
    assert any(line.startswith("5 more layers") and line.endswith("from 35.0 dB") for line in shown)
    assert any("1 of 30 layers in uint16; cosine: all quantized 0.99000, as chosen 0.99950" in line for line in shown)


def test_json_has_all_layers_and_no_number_that_is_none() -> None:
    found = Sensitivity((Layer("Conv a", math.nan, True),), "float", 0.1, accuracy(math.nan), accuracy(1.0), 1)
    told = sensitivity_json(found)
    assert told is not None and told["kept"] == 1 and '"nan"' in strict_json.dumps(told)
    assert sensitivity_json(None) is None
    assert accuracy_json(accuracy(30.0, "snr"))["drop"] is None
