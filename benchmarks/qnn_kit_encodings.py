"""A kit's encodings put round its float model again, by the format's own formula and none of our code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]
_WIDE = "com.microsoft"
"""Where onnxruntime has 16 bits in old opsets."""
_ACTIVATIONS = {8: np.uint8, 16: np.uint16}


def applied(kit: Path) -> onnx.ModelProto:
    """The model of a kit with every tensor that has an encoding rounded to it: x = scale (q + offset), q from 0.

    Raises:
        KeyError: An encoding names a tensor that the model does not have.
    """
    model = onnx.load(kit / "model.onnx")
    encodings = json.loads((kit / "encodings.json").read_text())
    graph = model.graph
    weights = {each.name: each for each in graph.initializer}
    for name, entries in encodings["param_encodings"].items():
        rounded = _rounded(numpy_helper.to_array(weights[name]), entries, _channel_axis(model, name))
        weights[name].CopyFrom(numpy_helper.from_array(rounded, name))
    activations = dict(encodings["activation_encodings"])
    outputs = {value.name for value in graph.output}
    renamed: dict[str, str] = {}
    nodes = []
    for value in graph.input:
        if value.name in activations:
            nodes += _pair(graph, value.name, f"{value.name} coded", activations.pop(value.name))
            renamed[value.name] = f"{value.name} coded"
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name not in activations:
                continue
            before, after = (f"{name} before", name) if name in outputs else (name, f"{name} coded")
            node.output[place] = before
            nodes += _pair(graph, before, after, activations.pop(name))
            renamed[name] = after
    if activations:
        raise KeyError(f"the model has no tensor '{next(iter(activations))}'")
    graph.CopyFrom(helper.make_graph(nodes, graph.name, graph.input, graph.output, graph.initializer))
    if not any(each.domain == _WIDE for each in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_WIDE, 1))
    return model


def _pair(graph: onnx.GraphProto, before: str, after: str, entries: list[dict[str, Any]]) -> list[onnx.NodeProto]:
    (entry,) = entries
    zero = np.array(-entry["offset"], _ACTIVATIONS[entry["bitwidth"]])
    scale = np.array(entry["scale"], np.float32)
    names = [f"{after} scale", f"{after} zero"]
    values: tuple[Array, Array] = (scale, zero)
    graph.initializer.extend(numpy_helper.from_array(*each) for each in zip(values, names, strict=True))
    domain = _WIDE if entry["bitwidth"] == 16 else ""
    return [
        helper.make_node("QuantizeLinear", [before, *names], [f"{after} integers"], domain=domain),
        helper.make_node("DequantizeLinear", [f"{after} integers", *names], [after], domain=domain),
    ]


def _rounded(weight: Array, entries: list[dict[str, Any]], axis: int) -> Array:
    along = [1] * weight.ndim
    if len(entries) > 1:
        along[axis] = len(entries)
    scale, offset = (
        np.array([entry[key] for entry in entries]).reshape(along if len(entries) > 1 else ())
        for key in ("scale", "offset")
    )
    most = 2 ** entries[0]["bitwidth"] - 1
    integers = np.clip(np.rint(weight.astype(np.float64) / scale) - offset, 0, most)
    return np.asarray(((integers + offset) * scale).astype(np.float32))


def _channel_axis(model: onnx.ModelProto, weight: str) -> int:
    """The output channels of the layer that reads a weight."""
    for node in model.graph.node:
        if weight in node.input:
            if node.op_type == "Gemm":
                return 0 if any(each.name == "transB" and each.i for each in node.attribute) else 1
            return {"Conv": 0, "ConvTranspose": 1}.get(node.op_type, -1)
    raise KeyError(f"nothing reads '{weight}'")
