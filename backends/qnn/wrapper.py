"""The model of one EPContext node by which onnxruntime loads a context binary: read from it, and made again.

The operator is onnxruntime's documented one (EP Context design); a context binary has no inputs and outputs of its own
that onnxruntime could read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ValueInfoProto, helper

from onnxopt.data.spec import spec_of
from onnxopt.errors import BadModel

_OP, _DOMAIN, _PROVIDER = "EPContext", "com.microsoft", "QNNExecutionProvider"
_OPSET = 17


def read_wrapper(path: Path) -> dict[str, Any]:
    """What is needed to make it again, as JSON takes it, and the version of the libraries."""
    model = onnx.load(path)
    (node,) = [each for each in model.graph.node if each.op_type == _OP]
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    known = {each.name: each for each in (*model.graph.input, *model.graph.output)}
    return {
        "sdk": attributes["ep_sdk_version"].decode(),
        "partition": attributes["partition_name"].decode(),
        "inputs": [_described(value) for value in model.graph.input],
        "read": list(node.input),
        "outputs": [_described(known[name]) for name in node.output],
    }


def write_wrapper(path: Path, facts: dict[str, Any], binary: str) -> None:
    """Make the model for a context binary of that file name, which lies beside it.

    Raises:
        BadModel: The facts are not those of `read_wrapper`.
    """
    try:
        inputs, outputs = ([_value(each) for each in facts[key]] for key in ("inputs", "outputs"))
        node = helper.make_node(
            _OP,
            list(facts["read"]),
            [each.name for each in outputs],
            domain=_DOMAIN,
            main_context=1,
            embed_mode=0,
            ep_cache_context=binary,
            source=_PROVIDER,
            partition_name=facts["partition"],
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_DOMAIN, 1)]
        graph = helper.make_graph([node], "context", inputs, outputs)
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    except (KeyError, TypeError, ValueError) as error:
        raise BadModel(f"the sidecar does not tell the inputs and outputs of the context binary: {error}") from error


def _described(value: ValueInfoProto) -> dict[str, Any]:
    spec = spec_of(value)
    return {"name": spec.name, "dtype": str(spec.dtype), "shape": list(spec.shape or ())}


def _value(facts: dict[str, Any]) -> ValueInfoProto:
    code = helper.np_dtype_to_tensor_dtype(np.dtype(facts["dtype"]))
    return helper.make_tensor_value_info(facts["name"], code, facts["shape"])
