"""What runs a conformance model: onnxruntime, or, for what that does not know yet, onnx's reference evaluator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto

from onnxopt.runtime.session import NotRunnable, Session

Values = dict[str, Any]
"""By name; a tensor is an array, a sequence a list, an empty optional None."""
Engine = Callable[[ModelProto, Values], Values]


def run_in_onnxruntime(model: ModelProto, feeds: Values) -> Values:
    """The outputs, onnxruntime's own optimizations off."""
    session = Session(model)
    wanted = {spec.name for spec in session.inputs} | {tensor.name for tensor in model.graph.initializer}
    return session.run({name: value for name, value in feeds.items() if name in wanted})


def run_in_reference(model: ModelProto, feeds: Values) -> Values:
    """The outputs by onnx.reference, which has operators of the newest opsets and of training.

    Raises:
        NotRunnable: It lacks an operator, or fails in it.
    """
    from onnx.reference import ReferenceEvaluator

    names = [info.name for info in model.graph.output]
    try:
        with np.errstate(all="ignore"):
            return dict(zip(names, ReferenceEvaluator(model).run(None, feeds), strict=True))
    except Exception as error:
        raise NotRunnable(f"onnx's reference evaluator: {type(error).__name__}: {error}") from error
