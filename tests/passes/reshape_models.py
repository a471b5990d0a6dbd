"""What `merge-reshapes` is tried on."""

from __future__ import annotations

import onnx
import onnx.parser

from onnxopt import ir
from onnxopt.passes.merge_reshapes import MergeReshapes

MERGE = MergeReshapes()
SIZES = ({"n": 2, "m": 5}, {"n": 3, "m": 1})


def between(body: str, weights: str = "", *, data: str = "float[n,3,m,4]", opset: int = 17) -> ir.Graph:
    """A model that computes `a = Neg (x)`, the body, which makes `b` of it, and `y = Abs (b)`."""
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : {opset}]>
        g ({data} x) => (float[] y) <{weights}> {{ a = Neg (x) {body} y = Abs (b) }}
    """)
    output = onnx.shape_inference.infer_shapes(model).graph.output[0]  # the checker wants a rank
    model.graph.output[0].type.tensor_type.shape.dim.extend(
        onnx.TensorShapeProto.Dimension() for _ in output.type.tensor_type.shape.dim
    )
    return ir.from_proto(model)


def target(graph: ir.Graph) -> tuple[str, list[int]]:
    """The one node between Neg and Abs, and its integers."""
    assert len(graph.nodes) == 3, ir.to_text(graph)
    node = graph.nodes[1]
    values = node.inputs[1].read().tolist() if len(node.inputs) > 1 else []
    return node.op, values
