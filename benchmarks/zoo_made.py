"""The models of the zoo that are made without torch: python benchmarks/zoo_made.py FOLDER NAME.

The light models of the onnx wheel with weights in place of the ConstantOfShape nodes that stand for them, a QDQ
MobileNetV3 by onnxruntime's own quantize_static, and the two large synthetic ones.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import heavy_model
import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from synthetic import large_model

Array = npt.NDArray[Any]
LIGHT = tuple(
    f"light_{name}"
    for name in (
        "bvlc_alexnet",
        "densenet121",
        "inception_v1",
        "inception_v2",
        "resnet50",
        "shufflenet",
        "squeezenet",
        "vgg19",
        "zfnet512",
    )
)
NODES = 20_001
HEAVY = {"heavy": 79, "heavy_small": 4}
"""Layers. The first has 2.4 GB of weights outside the file; the other is the same with few layers, in one file."""
_GAIN = 0.3
"""Of its matrices."""
_WIDE, _NARROWER = 4096, 512
"""Alexnet, VGG-19 and ZFNet have half a gigabyte in their two widest layers. These are made narrower: no node less."""


def make(name: str, folder: Path) -> Path:
    """Make a model; return its path. It appears whole or not at all.

    Raises:
        KeyError: There is no such model.
    """
    path = folder / f"{name}.onnx"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / path.name
        if name in HEAVY:
            written = heavy_model.write(Path(scratch), HEAVY[name], _GAIN)
            if name == "heavy_small":
                onnx.save(onnx.load(written), made)
            else:
                written.with_suffix(".data").replace(folder / "heavy.data")
                written.replace(made)
        elif name == "synthetic_20001":
            onnx.save(large_model(NODES), made)
        elif name == "mobilenet_v3_small-qdq":
            _quantize(folder / "mobilenet_v3_small-ts.onnx", made)
        elif name in LIGHT:
            onnx.save(settled(materialized(onnx.load(_light(name)))), made)
        else:
            raise KeyError(name)
        shutil.move(made, path)
    return path


def _light(name: str) -> Path:
    return Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"{name}.onnx"


def materialized(model: ModelProto) -> ModelProto:
    """Random weights of sane variance in place of ConstantOfShape nodes, as initializers and inputs (IR version 3)."""
    graph, rng = model.graph, np.random.default_rng(0)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    stand_ins = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    readers = {name: (node, index) for node in graph.node for index, name in enumerate(node.input)}
    for node in stand_ins:
        shape = [_NARROWER if size == _WIDE else int(size) for size in shapes[node.input[0]]]
        values = _weight(*readers[node.output[0]], shape, rng).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        graph.input.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, shape))
        graph.node.remove(node)
    _drop_unread(graph)
    return model


def settled(model: ModelProto) -> ModelProto:
    """With the statistics that a trained model would have, so that its output depends on its input.

    Means and variances of BatchNormalization are those of a random image: with others, what depends on the image fades
    from layer to layer. The scores before a Softmax have variance 1: a saturated one hides what comes before it.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            found = _value(model, node.input[0])
            variance = found.var(axis=(0, 2, 3))
            _set(weights[node.input[3]], found.mean(axis=(0, 2, 3)))
            _set(weights[node.input[4]], np.maximum(variance, 0.01 * variance.mean() + 1e-6))
    last = model.graph.node[-1]
    layer = next(node for node in reversed(model.graph.node) if node.op_type in ("Gemm", "Conv"))
    if last.op_type == "Softmax":
        spread = _value(model, last.input[0]).std()
        for name in (name for name in layer.input[1:] if name in weights):
            _set(weights[name], numpy_helper.to_array(weights[name]) / spread)
    return model


def _value(model: ModelProto, name: str) -> Array:
    """Of a tensor inside the model, for a random image."""
    import onnxruntime as ort

    part = ModelProto.FromString(model.SerializeToString())
    part.graph.ClearField("output")
    part.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    weights = {tensor.name for tensor in model.graph.initializer}
    (image,) = (info.name for info in model.graph.input if info.name not in weights)
    values = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    session = ort.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([name], {image: values})[0])


def _set(tensor: TensorProto, values: Array) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(values, np.float32), tensor.name))


def _weight(reader: NodeProto, index: int, shape: list[int], rng: np.random.Generator) -> Array:
    """He initialization (2015) for what multiplies, about 1 for scales and variances, about 0 for the rest."""
    if reader.op_type == "BatchNormalization":
        return rng.uniform(0.5, 1.5, shape) if index in (1, 4) else rng.normal(0, 0.1, shape)
    if index == 1 and reader.op_type in ("Conv", "Gemm", "MatMul"):
        fan_in = math.prod(shape[1:])
        return rng.normal(0, math.sqrt(2 / fan_in), shape)
    return rng.normal(1 if reader.op_type == "Mul" else 0, 0.1, shape)


def _drop_unread(graph: GraphProto) -> None:
    read = {name for node in graph.node for name in node.input}
    gone = {tensor.name for tensor in graph.initializer} - read
    for values in (graph.initializer, graph.input):
        kept = [value for value in values if value.name not in gone]
        del values[:]
        values.extend(kept)  # type: ignore[arg-type]


class _Images:
    """Calibration data as onnxruntime reads it."""

    def __init__(self, name: str) -> None:
        rng = np.random.default_rng(0)
        self.samples: Iterator[dict[str, Array]] = iter(
            [{name: rng.normal(size=(1, 3, 224, 224)).astype(np.float32)} for _ in range(4)]
        )

    def get_next(self) -> dict[str, Array] | None:
        return next(self.samples, None)


def _quantize(source: Path, output: Path) -> None:
    from onnxruntime.quantization import QuantFormat, quantize_static

    if not source.exists():
        sys.exit(f"{source.name} is missing: make it with `python benchmarks/zoo_torch.py` where torch is installed")
    name = onnx.load(source).graph.input[0].name
    quantize_static(source, output, _Images(name), quant_format=QuantFormat.QDQ, per_channel=True)


if __name__ == "__main__":
    print(make(sys.argv[2], Path(sys.argv[1])))
