"""Models in ONNX's textual syntax whose weights are made up."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

from onnxopt import ir


def random_model(text: str, seed: int = 0) -> ir.Graph:
    """Parse a model; what it declares in `<...>` and no node produces becomes an initializer of small random numbers.

    Names that begin with `var` get positive ones. The declarations look like `<float[8, 1, 3, 3] w, float[8] var>`.
    """
    return ir.from_proto(random_proto(text, seed))


def random_proto(text: str, seed: int = 0) -> onnx.ModelProto:
    """The same as a ModelProto."""
    rng = np.random.default_rng(seed)
    model = onnx.parser.parse_model(text)
    produced = {name for node in model.graph.node for name in node.output}
    for info in [info for info in model.graph.value_info if info.name not in produced]:
        shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        numbers = rng.normal(size=shape)
        if info.name.startswith("var"):
            numbers = np.abs(numbers) + 0.5
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(numbers).astype(dtype), info.name))
        model.graph.value_info.remove(info)
    return model


def random_layers(
    body: str,
    weights: str,
    *,
    opset: int = 17,
    data: str = "float[2,4,7,6] x",
    outputs: str = "float[n,c,h,w] y",
    seed: int = 0,
) -> ir.Graph:
    """A model of these nodes upon the input `x`, with random weights, that gives out `y`."""
    header = f'<ir_version: 8, opset_import: ["" : {opset}]> g ({data}) => ({outputs})'
    return random_model(f"{header} <{weights}> {{ {body} }}", seed)


def ops(graph: ir.Graph) -> list[str]:
    """The operators of the main graph, in order."""
    return [node.op for node in graph.nodes]
