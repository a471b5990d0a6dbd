"""One ONNX operator in onnxruntime, for what numpy has not or does slowly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from onnxopt.backends.coreml.evaluator.registry import Array, Call

_OPSET = 17


def run_operator(
    call: Call,
    kind: str,
    inputs: Mapping[str, Array],
    constants: Callable[[], Mapping[str, Array]] = dict,
    **attributes: Any,
) -> Array:
    """The first output of an ONNX operator on float32.

    Args:
        call: Whose sessions it is kept in.
        kind: The operator.
        inputs: Those that change from run to run, in the operator's order; then come the constant ones.
        constants: Those that do not; asked once.
        attributes: The operator's.
    """
    key = (kind, tuple(value.ndim for value in inputs.values()), repr(attributes))
    if key not in call.sessions:
        call.sessions[key] = _session(kind, inputs, constants(), attributes)
    feeds = {name: np.ascontiguousarray(value, np.float32) for name, value in inputs.items()}
    found = call.sessions[key].run(None, feeds)[0]
    return np.asarray(found)


def _session(kind: str, inputs: Mapping[str, Array], constants: Mapping[str, Array], attributes: Any) -> Any:
    node = helper.make_node(kind, [*inputs, *constants], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        kind,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * value.ndim) for name, value in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # one small operator a run: threads would wait for each other more than they work
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
