"""A model with its local functions inlined."""

from __future__ import annotations

from onnxopt import ir
from onnxopt.errors import BadModel
from onnxopt.ir.inlined import inline_functions
from onnxopt.ir.skeleton import SMALL
from onnxopt.ir.weights import weights


def without_functions(graph: ir.Graph) -> ir.Graph:
    """A copy whose calls are replaced by the bodies of the functions; weights are shared, not read.

    Raises:
        BadModel: onnx's inliner refuses the model.
    """
    stored = {constant.name: constant for constant in weights(graph)}
    twin, origins = inline_functions(graph)
    for node in origins:
        node.name = ""
    with ir.edit(twin) as edit:  # a node of a body is there once for each call, and onnxruntime wants names to differ
        for node, origin in origins.items():
            node.name = edit.fresh(origin.name) if origin.name else ""
    for constant in weights(twin):  # the inliner was given none of the large ones
        if constant.nbytes > SMALL:
            if not constant.name or constant.name not in stored:
                raise BadModel("a large constant of a function has no name to find it by")
            constant._values = stored[constant.name].copy()._values
    ir.sort(twin)
    return twin
