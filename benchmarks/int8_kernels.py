"""Where onnxruntime's integers are faster than its floats, operator by operator: what backends/onnx.py rests on.

    python benchmarks/int8_kernels.py [--only operators,channels] [--ops TEXT,...] [--quick] [--json]

operators  Conv, operator, Conv: how long the float model takes, the model that `quantize` makes with the operator in
           integers, and with the operator left in float (keep-float). Alone an operator tells little: onnxruntime runs
           integer Convs with channels last, and what stands next to one has other kernels than what stands alone.
channels   Conv 1x1, depthwise Conv, Conv 1x1: what `pad-channels` makes of the time, for numbers of channels that are
           no multiple of 16.

One thread, optimizations on; medians of ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from quantization_latency import Latency, latency
from reporting import aligned, arguments, tick

import onnxopt

PHASES = ("operators", "channels")
FLOAT, INTEGERS, LEFT, PADDED = "float", "int8", "left in float", "padded"
_QUANTIZE = "quantize"
_PLANES = ((64, 112), (32, 56), (200, 14))
"""Channels, and height and width."""
_CHANNELS = ((3, 56), (5, 14))
"""Kernel, and height and width."""
_COUNTS = (4, 6, 8, 12, 20, 24, 36, 40, 56, 72, 88, 104, 200)


@dataclass(frozen=True)
class Operator:
    """What stands between two Convs."""

    name: str
    op: str
    attributes: dict[str, Any]
    before: str = "Relu"
    """The activation of the Conv before it."""
    inputs: str = "x"
    """`x`: what the first Conv gives; `y`: what another one gives; `g`: one number for each channel."""
    widens: int = 1
    """How many times as many channels it gives out."""
    pooled: bool = False
    """Behind it, where it is none itself, comes a GlobalAveragePool, and then a Gemm."""


def operators() -> list[Operator]:
    """All of them."""
    pool: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    found = [
        Operator(op, op, pool, before) for op in ("MaxPool", "AveragePool") for before in ("Relu", "HardSwish", "Add")
    ]
    found += [
        Operator(f"{op} at the end", op, pool, before, pooled=True)
        for op in ("MaxPool", "AveragePool") for before in ("Relu", "HardSwish", "Add")
    ]  # fmt: skip
    found += [
        Operator("GlobalAveragePool", "GlobalAveragePool", {}, before, pooled=True) for before in ("Relu", "HardSwish")
    ]
    found += [Operator(op, op, {}, inputs="xy") for op in ("Add", "Mul")]
    found += [Operator("Mul by a gate", "Mul", {}, before, "xg") for before in ("Relu", "HardSwish")]
    found.append(Operator("Concat", "Concat", {"axis": 1}, inputs="xy", widens=2))
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    found.append(Operator("Resize", "Resize", nearest, inputs="xs"))
    found += [Operator(op, op, {}, "") for op in ("LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh")]
    return found


class Model:
    """Makes a float model, node by node."""

    def __init__(self, channels: int, size: int) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.shape = [1, channels, size, size]

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node; the name of what it gives out."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, values: np.typing.NDArray[Any]) -> str:
        """An initializer."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, data: str, inputs: int, outputs: int, kernel: int = 1, group: int = 1) -> str:
        """A Conv that keeps the size."""
        shape = (outputs, inputs // group, kernel, kernel)
        weight = (self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        bias = self.rng.normal(size=outputs).astype(np.float32)
        pads = [kernel // 2] * 4
        return self.add("Conv", data, self.constant(weight), self.constant(bias), group=group, pads=pads)

    def save(self, output: str, path: Path) -> Path:
        """Write it."""
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes, "g", [value("x", TensorProto.FLOAT, self.shape)], [value(output, TensorProto.FLOAT, None)],
            self.weights,
        )  # fmt: skip
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path


def between(operator: Operator, channels: int, size: int, path: Path) -> Path:
    """Conv, activation, the operator, Conv."""
    model = Model(channels, size)
    first = model.add("Relu", model.conv("x", channels, channels))  # what is measured does not touch the input
    data = model.conv(first, channels, channels)
    if operator.before == "Add":
        data = model.add("Relu", model.add("Add", data, first))
    elif operator.before:
        data = model.add(operator.before, data)
    given = {"x": data}
    if "y" in operator.inputs:
        given["y"] = model.add("Relu", model.conv(first, channels, channels))
    if "g" in operator.inputs:
        gate = model.conv(model.add("GlobalAveragePool", data), channels, channels)
        given["g"] = model.add("HardSigmoid", gate)
    inputs = [given[each] for each in operator.inputs if each in given]
    if "s" in operator.inputs:
        inputs += ["", model.constant(np.array([1, 1, 2, 2], np.float32))]
    found = model.add(operator.op, *inputs, **operator.attributes)
    if operator.pooled:
        if operator.op != "GlobalAveragePool":
            found = model.add("GlobalAveragePool", found)
        weight = model.constant(model.rng.normal(size=(channels, 16)).astype(np.float32))
        return model.save(model.add("Gemm", model.add("Flatten", found), weight), path)
    return model.save(model.conv(found, channels * operator.widens, 16), path)


def block(channels: int, kernel: int, size: int, path: Path) -> Path:
    """Conv 1x1, depthwise Conv, Conv 1x1, as MobileNet has them; a quarter as many channels outside."""
    outer = max(8, channels // 4)
    model = Model(outer, size)
    data = model.add("Relu", model.conv("x", outer, channels))
    data = model.add("Relu", model.conv(data, channels, channels, kernel, channels))
    return model.save(model.conv(data, channels, outer), path)


def measured(path: Path, variants: dict[str, str], seconds: float) -> tuple[dict[str, Path], Latency]:
    """The float model and two made of it by pipelines."""
    samples = path.with_suffix(".npz")
    shape = [dim.dim_value for dim in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    np.savez(samples, x=np.random.default_rng(1).normal(size=(4, *shape[1:])).astype(np.float32))
    paths = {FLOAT: path}
    for name, passes in variants.items():
        paths[name] = path.with_stem(f"{path.stem}-{name.replace(' ', '-')}")
        onnxopt.run(path, passes, data=samples, target="onnx", verify=False).save(paths[name])
    feeds = {"x": np.random.default_rng(2).normal(size=shape).astype(np.float32)}
    return paths, latency(paths, [feeds], seconds)


def kernels(path: Path, op: str) -> str:
    """What onnxruntime makes of an operator."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    found = [node.op_type for node in nodes if node.op_type.endswith(op)]
    return ", ".join(dict.fromkeys(found)) or "-"


def of_operators(names: Sequence[str], seconds: float, folder: Path) -> Iterator[tuple[str, ...]]:
    """The table of operators."""
    yield ("operator", "behind", "plane", "float us", "int8/float", "left/float", "int8/left", "kernel")
    for operator in operators():
        if not any(name in operator.name for name in names):
            continue
        for channels, size in _PLANES:
            tick(f"{operator.name}, {channels} channels")
            path = between(operator, channels, size, folder / "model.onnx")
            left = f"{_QUANTIZE}{{keep-float={operator.op}}}"
            paths, found = measured(path, {INTEGERS: _QUANTIZE, LEFT: left}, seconds)
            yield (
                operator.name,
                operator.before or "Conv",
                f"{channels}x{size}x{size}",
                f"{found.milliseconds * 1e3:.0f}",
                f"{found.ratios[INTEGERS].median:.2f}",
                f"{found.ratios[LEFT].median:.2f}",
                str(found.against(INTEGERS, LEFT)),
                kernels(paths[INTEGERS], operator.op),
            )


def of_channels(seconds: float, folder: Path) -> Iterator[tuple[str, ...]]:
    """The table of depthwise Convs."""
    yield ("depthwise", "channels", "padded to", "weights", "float us", "int8/float", "padded/float", "padded/int8")
    for kernel, size in _CHANNELS:
        for channels in _COUNTS:
            tick(f"{channels} channels")
            path = block(channels, kernel, size, folder / "model.onnx")
            padded = -(-channels // 16) * 16
            variants = {INTEGERS: _QUANTIZE, PADDED: f"pad-channels{{multiple=16 growth=16}},{_QUANTIZE}"}
            _, found = measured(path, variants, seconds)
            yield (
                f"{kernel}x{kernel} at {size}x{size}",
                str(channels),
                str(padded),
                f"{padded / channels:.2f}x",
                f"{found.milliseconds * 1e3:.0f}",
                f"{found.ratios[INTEGERS].median:.2f}",
                f"{found.ratios[PADDED].median:.2f}",
                str(found.against(PADDED, INTEGERS)),
            )


def main() -> None:
    """Measure what is asked for, and print."""
    given = _arguments()
    seconds = 0.5 if given.quick else 2.0
    tables: dict[str, list[tuple[str, ...]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        if "operators" in given.only:
            tables["operators"] = list(of_operators(given.ops, seconds, Path(folder)))
        if "channels" in given.only:
            tables["channels"] = list(of_channels(seconds, Path(folder)))
    if given.json:
        told = {name: [dict(zip(rows[0], row, strict=True)) for row in rows[1:]] for name, rows in tables.items()}
        print(json.dumps({"onnxruntime": onnxruntime.__version__, **told}, indent=1))
        return
    print(f"onnxruntime {onnxruntime.__version__}\n")
    print("\n".join(map(aligned, tables.values())))


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__)

    def commas(text: str) -> list[str]:
        return text.split(",")

    parser.add_argument("--only", default=list(PHASES), help="tables", type=commas, metavar="A,B")
    parser.add_argument("--ops", default=[""], help="whose name contains one of these", type=commas, metavar="A,B")
    parser.add_argument("--quick", action="store_true", help="in fewer rounds")
    given = parser.parse_args()
    if unknown := [phase for phase in given.only if phase not in PHASES]:
        parser.error(f"--only: there is no '{unknown[0]}'; there are {', '.join(PHASES)}")
    return given


if __name__ == "__main__":
    main()
