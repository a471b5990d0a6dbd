"""The nodes of one scope, lowered in order into the block that is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import types

from onnxopt import ir
from onnxopt.backends.coreml.lowering.registry import Refused, RefusedInside, Unknown, lowering_of
from onnxopt.backends.coreml.lowering.site import Site
from onnxopt.backends.coreml.lowering.values import Value, Values
from onnxopt.pipeline.backend import Problem
from onnxopt.pipeline.base import describe

_RANK = 5
"""Core ML has no tensors of more dimensions."""
_FOLDED = 1 << 20
"""What MIL infers and is larger than this stays an operation."""


def lower_nodes(scope: ir.Graph, values: Values, problems: list[Problem]) -> None:
    """Lower the nodes of a scope; every one that is refused is noted, and what needs its results is passed over."""
    for node in scope.nodes:
        if not all(values.knows(tensor) for tensor in node.inputs if tensor.name):
            continue  # something before it was refused
        try:
            _lower_node(node, scope, values)
        except RefusedInside as refused:
            problems.extend(refused.problems)
        except Refused as refused:
            if isinstance(refused, Unknown) and problems:
                continue  # a subgraph reads what was refused
            problems.append(Problem(describe(node), str(refused)))


def _lower_node(node: ir.Node, scope: ir.Graph, values: Values) -> None:
    function = lowering_of(node.op, node.domain)
    if function is None:
        raise Refused(f"there is no lowering of {node.op}" + (f" of domain {node.domain}" if node.domain else ""))
    site = Site(node, scope, values)
    try:
        found = function(site)
    except (ValueError, TypeError, NotImplementedError, IndexError, AttributeError, AssertionError, KeyError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Refused(f"coremltools refuses it: {reason}") from error
    site.require_all_read()
    outputs: Sequence[Any] = found if isinstance(found, (tuple, list)) else [found]
    for index, tensor in enumerate(node.outputs):
        if not tensor.name:
            continue
        if index >= len(outputs) or outputs[index] is None:
            raise Refused(f"its output {index} '{tensor.name}' cannot be said in MIL")
        value = _inferred(outputs[index])
        _require_representable(value, tensor.name)
        values.set(tensor, value)


def _inferred(value: Value) -> Value:
    """What MIL knows already of a small result: arithmetic on shapes leaves no operations behind."""
    if isinstance(value, np.generic):
        return np.asarray(value)
    if isinstance(value, np.ndarray) or value.op is None or value.op.op_type in ("const", "identity"):
        return value
    known = value.val
    if known is None or np.size(known) > _FOLDED or value.dtype not in _INFERRED:
        return value
    array = np.asarray(known).astype(types.nptype_from_builtin(value.dtype), copy=False)
    return array if array.shape == tuple(value.shape) else value


_INFERRED = (types.fp32, types.fp16, types.int32, types.bool)


def _require_representable(value: Value, name: str) -> None:
    """Arrays may be of any shape as long as no operation reads them."""
    if isinstance(value, np.ndarray):
        return
    shape = tuple(value.shape)
    if len(shape) > _RANK:
        raise Refused(f"its output '{name}' is of rank {len(shape)}; Core ML has at most {_RANK}")
    if any(isinstance(dim, (int, np.integer)) and dim == 0 for dim in shape):
        raise Refused(f"its output '{name}' is empty, of shape {list(shape)}; Core ML has no empty tensors")
