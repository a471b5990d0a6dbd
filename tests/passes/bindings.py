"""A pass on a model of symbolic dimensions: equal outputs at more than one binding of them."""

from __future__ import annotations

import numpy as np
import onnx

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass
from tests.passes.checks import assert_equal_outputs, check_pass, run


def feeds_at(model: onnx.ModelProto, sizes: dict[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of which each symbolic dimension has the size given for it."""
    rng = np.random.default_rng(seed)
    feeds = {}
    initialized = {tensor.name for tensor in model.graph.initializer}
    for info in model.graph.input:
        if info.name not in initialized:
            dims = info.type.tensor_type.shape.dim
            shape = [sizes[dim.dim_param] if dim.dim_param else dim.dim_value for dim in dims]
            dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
            feeds[info.name] = np.asarray(rng.normal(size=shape) * (1 if dtype.kind == "f" else 3)).astype(dtype)
    return feeds


def check_at(pass_: Pass, graph: ir.Graph, *bindings: dict[str, int], expect_change: bool = True) -> Context:
    """`check_pass` at the first binding, and equal outputs at the others."""
    before = ir.to_proto(graph.copy())
    ctx = check_pass(pass_, graph, feeds_at(before, bindings[0]), expect_change=expect_change)
    after = ir.to_proto(graph)
    for sizes in bindings[1:]:
        feeds = feeds_at(before, sizes)
        assert_equal_outputs(run(before, feeds), run(after, feeds), pass_.preserves)
    return ctx
