"""What `convert-opset` is tried on."""

from __future__ import annotations

import re

import onnx
import onnx.parser

from onnxopt import ir
from onnxopt.passes.convert_opset import ConvertOpset

TO = ConvertOpset


def model(opset: int, body: str, *, x: str = "float[2,6,4]", ir_version: int = 7) -> ir.Graph:
    """A model of one input `x`, whose outputs are those of `y`, `z` and `u` that its body gives."""
    names = [name for name in "yzu" if re.search(rf"\b{name}\b[^=()]*=", body)]
    declared = ", ".join(f"float {name}" for name in names)
    text = f'<ir_version: {ir_version}, opset_import: ["" : {opset}]> g ({x} x) => ({declared}) {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    for info in proto.graph.output:
        info.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(proto)
    for info, found in zip(proto.graph.output, inferred.graph.output, strict=True):
        info.type.CopyFrom(found.type)
    return ir.from_proto(proto)


IMAGE = "float[1,4,5,6]"
ROI = (
    "r = Constant <value = float[1,4] {0., 0., 4., 3.}> () "
    "b = Constant <value = int64[1] {0}> () "
    "y = RoiAlign <output_height = 3, output_width = 3, sampling_ratio = 2> (x, r, b)"
)
"""A region of interest of an image."""

FUNCTION = """
    <ir_version: 8, opset_import: ["" : 13, "local" : 1]>
    g (float[2,3] x) => (float[2,3] y) { a = Relu (x)  y = local.Centred (a) }
    <domain: "local", opset_import: ["" : %d]>
    Centred (v) => (w) { m = ReduceMean <axes = [1]> (v)  w = Sub (v, m) }
"""
