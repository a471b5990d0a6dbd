"""What a program is called inside: names are most of its bytes, since each stands in it three times or more.

Operations keep the names of the tensors of the ONNX model, which Xcode's reports show. What coremltools appends to them
goes, and the arguments of operations (strides, axes, kinds of padding), which coremltools stores for every operation
anew, become one short-named constant for each value, as its own PyTorch frontend makes them.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import ListVar, types
from coremltools.converters.mil.mil.passes.helper import block_context_manager

_ADDED = ("_to_fp16", "_dequantized", "_palette", "_cast_fp16")
"""What coremltools, and passes of ours, append to names."""
_ARGUMENT = 10
"""Numbers from which on a constant is a weight: coremltools stores those in the weight file."""


@block_context_manager  # type: ignore[untyped-decorator]
def share_small_constants(block: Any) -> None:
    """Make one constant of those of a block that are equal, and arguments by their size."""
    first: dict[Any, Any] = {}
    for operation in list(block.operations):
        for inner in operation.blocks:
            share_small_constants(inner)
        if not _is_argument(operation) or operation.outputs[0] in block.outputs:
            continue
        var = operation.outputs[0]
        kept = first.setdefault(_value(var), var)
        if kept is not var:
            block.replace_uses_of_var_after_op(anchor_op=operation, old_var=var, new_var=kept)
            block.remove_ops([operation])


def _is_argument(operation: Any) -> bool:
    if operation.op_type != "const" or isinstance(operation.outputs[0], ListVar):
        return False
    return bool(np.size(operation.outputs[0].val) < _ARGUMENT)


def _value(var: Any) -> Any:
    """By which constants are told apart: bit for bit, so that -0 is not 0."""
    if isinstance(var.val, str):
        return var.val
    return types.builtin_to_string(var.dtype), tuple(var.shape), np.asarray(var.val).tobytes()


def shorten_names(function: Any) -> None:
    """Rename constants and operations of a function; its inputs and outputs keep their names."""
    operations = list(_every_operation(function))
    taken = {name for each in operations for name in (each.name, *(var.name for var in each.outputs))}
    taken.update(function.inputs)
    numbered = (name for number in itertools.count() if (name := f"c{number}") not in taken)
    for operation in operations:
        var = operation.outputs[0] if len(operation.outputs) == 1 else None
        if var is None or operation.name != var.name or var in function.outputs:
            continue
        name = next(numbered) if _is_argument(operation) else functools.reduce(str.removesuffix, _ADDED, var.name)
        if name not in taken:
            operation.name = var.name = name
            taken.add(name)


def _every_operation(block: Any) -> Iterator[Any]:
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _every_operation(inner)
