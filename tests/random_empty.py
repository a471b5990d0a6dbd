"""Where onnxruntime (1.31) itself is wrong of empty tensors, so that no comparison at such sizes tells anything."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from tests.random_graphs import every_node
from tests.random_kernels import Run, probed


def reduces_from_the_end(model: ModelProto) -> bool:
    """Whether it reduces over a negative axis: of an empty tensor, onnxruntime then leaves that axis as it is."""
    nodes = every_node(model)
    attributes = [attribute for node in nodes for attribute in node.attribute]
    constants = [t for graph in (model.graph, *(a.g for a in attributes)) for t in graph.initializer]
    negative = {tensor.name for tensor in constants if _has_negative(tensor)}
    for node in nodes:
        holds = node.op_type == "Constant" and any(_has_negative(attribute.t) for attribute in node.attribute)
        if holds or (node.op_type == "Identity" and node.input[0] in negative):
            negative |= set(node.output)
    return any(
        any(min([a.i, *a.ints]) < 0 for a in node.attribute if a.name in ("axis", "axes"))
        or bool(negative & set(node.input[1:]))
        for node in nodes
        if node.op_type.startswith(("Reduce", "Arg"))
    )


def reduces_empty_from_the_end(model: ModelProto, feeds: dict[str, Any], run: Run) -> bool:
    """Whether one of its reductions is given an empty tensor by these inputs."""
    reductions = sorted({node.op_type for node in every_node(model) if node.op_type.startswith(("Reduce", "Arg"))})
    _, nodes, values = probed(model, reductions, feeds, run)
    return any(np.size(values[node.input[0]]) == 0 for node in nodes)


def _has_negative(tensor: TensorProto) -> bool:
    return tensor.data_type == TensorProto.INT64 and bool((numpy_helper.to_array(tensor) < 0).any())


def refuses_empty_images(model: ModelProto) -> bool:
    """Whether it has an operator on images that onnxruntime cannot run on one without pixels.

    GlobalAveragePool refuses it, InstanceNormalization may end the process with a segmentation fault. Passes that make
    one of arithmetic take it that an image whose height and width are open has pixels: its mean would be NaN.
    """
    return any(node.op_type in ("InstanceNormalization", "GlobalAveragePool") for node in every_node(model))
