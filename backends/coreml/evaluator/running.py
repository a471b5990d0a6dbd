"""A MIL function, run operation by operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.types.symbolic import is_symbolic

from onnxopt.backends.coreml.evaluator import handlers  # noqa: F401  registers what evaluates each operation
from onnxopt.backends.coreml.evaluator.inference import inferred, infers
from onnxopt.backends.coreml.evaluator.registry import Array, Call, NotEvaluable, handler_of
from onnxopt.errors import BadData

_ITERATIONS = 1 << 20
"""A loop that takes more does not end."""


@dataclass(frozen=True)
class Feature:
    """An input or an output."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]
    """None where it is flexible."""


class Evaluator:
    """A program that can be run as often as wanted. Its states are kept from run to run, and begin as zeros."""

    def __init__(self, name: str, function: Any) -> None:
        self.name = name
        self._function = function
        self._constants: dict[int, Any] = {}
        self._sessions: dict[int, dict[Any, Any]] = {}
        self._states: dict[str, Array] = {}
        self._last_used = _last_uses(function)
        self._declared: dict[int, Feature] = {}
        inputs = {name: var for name, var in function.inputs.items() if not types.is_state(var.sym_type)}
        self._states_of = {name: var for name, var in function.inputs.items() if name not in inputs}
        self.inputs = tuple(_feature(name, var) for name, var in inputs.items())
        self.outputs = tuple(_feature(var.name, var) for var in function.outputs)
        self._inputs = inputs
        self.reset()

    def reset(self) -> None:
        """Set all states to zero."""
        for name, var in self._states_of.items():
            kind = var.sym_type.wrapped_type()
            dtype = types.nptype_from_builtin(kind.get_primitive())
            self._states[name] = np.zeros(tuple(int(dim) for dim in kind.get_shape()), dtype)

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Evaluate the program on one set of inputs.

        Args:
            feeds: By MIL's names; floats of another width are rounded to what the program takes.

        Returns:
            Every output by MIL's name: an array; of a classifier, also a string, and a dictionary.

        Raises:
            BadData: An input is missing, unknown, or does not fit.
            NotEvaluable: An operation cannot be evaluated here.
        """
        known: dict[int, Any] = {}
        for name in feeds:
            if name not in self._inputs:
                raise BadData(f"{self.name} takes no input '{name}': it takes {', '.join(self._inputs)}")
        for feature in self.inputs:
            if feature.name not in feeds:
                raise BadData(f"{self.name} needs the input '{feature.name}'")
            known[id(self._inputs[feature.name])] = _fed(feature, np.asarray(feeds[feature.name]))
        for name, var in self._states_of.items():
            known[id(var)] = name
        with np.errstate(all="ignore"):
            found = self._block(self._function, known)
        return {var.name: value for var, value in zip(self._function.outputs, found, strict=True)}

    def _block(self, block: Any, known: dict[int, Any]) -> list[Any]:
        for op in block.operations:
            for var, value in zip(op.outputs, self._evaluated(op, known), strict=True):
                known[id(var)] = value
            for key in self._last_used.get(id(op), ()):
                known.pop(key, None)
        return [self._value(var, known) for var in block.outputs]

    def _value(self, var: Any, known: dict[int, Any]) -> Any:
        return known[id(var)] if id(var) in known else self._constants[id(var)]

    def _evaluated(self, op: Any, known: dict[int, Any]) -> list[Any]:
        if _is_constant(op):
            if id(op.outputs[0]) not in self._constants:
                self._constants.update(zip(map(id, op.outputs), self._constant(op), strict=True))
            return [self._constants[id(var)] for var in op.outputs]
        if op.op_type == "cond":
            return self._block(op.blocks[0 if bool(self._value(op.pred, known)) else 1], dict(known))
        if op.op_type == "while_loop":
            return self._looped(op, known)
        if op.op_type == "read_state":
            return [self._states[self._value(op.input, known)].copy()]
        if op.op_type == "coreml_update_state":
            self._states[self._value(op.state, known)] = np.array(self._value(op.value, known))
            return [self._states[self._value(op.state, known)].copy()]
        return self._operated(op, known)

    def _looped(self, op: Any, known: dict[int, Any]) -> list[Any]:
        condition, body = op.blocks
        carried = [self._value(var, known) for var in op.loop_vars]
        for _ in range(_ITERATIONS):
            inside = {**known, **dict(zip(map(id, condition.inputs), carried, strict=True))}
            if not bool(self._block(condition, inside)[0]):
                return carried
            inside = {**known, **dict(zip(map(id, body.inputs), carried, strict=True))}
            carried = self._block(body, inside)
        raise NotEvaluable(f"{self.name}: the loop '{op.name}' did not end within {_ITERATIONS} iterations")

    def _constant(self, op: Any) -> list[Any]:
        if op.op_type == "const":
            value = op.outputs[0].val
            return [value if isinstance(value, str) else np.asarray(value)]
        return self._operated(op, self._constants)

    def _operated(self, op: Any, known: dict[int, Any]) -> list[Any]:
        values: dict[str, Any] = {}
        for name, var in op.inputs.items():
            if var is None or name.startswith("_"):
                continue
            several = isinstance(var, (list, tuple))
            values[name] = [self._value(each, known) for each in var] if several else self._value(var, known)
        call = Call(op, values, self._sessions.setdefault(id(op), {}))
        handler = handler_of(op.op_type)
        if handler is None and not infers(op):
            raise call.refuse("there is no handler of it")
        found = inferred(call) if handler is None else handler(call)
        if found is None:
            raise call.refuse("coremltools does not tell what it gives")
        results = list(found) if isinstance(found, (list, tuple)) else [found]
        if len(results) != len(op.outputs):
            raise call.refuse(f"it has {len(op.outputs)} outputs, and {len(results)} were computed")
        return [self._stored(call, var, value) for var, value in zip(op.outputs, results, strict=True)]

    def _stored(self, call: Call, var: Any, value: Any) -> Any:
        """A result in the element type that the program declares, and of its shape."""
        if isinstance(value, (str, dict)):
            return value
        array = np.asarray(value)
        feature = self._declared.get(id(var))
        if feature is None:  # coremltools works it out anew each time that it is asked
            feature = self._declared[id(var)] = _result(var)
        declared = feature.shape
        if len(declared) != array.ndim or any(
            dim is not None and dim != size for dim, size in zip(declared, array.shape, strict=True)
        ):
            raise call.refuse(f"it is of shape {list(array.shape)}, and the package declares {list(declared)}")
        return array if array.dtype == feature.dtype else array.astype(feature.dtype)


def _is_constant(op: Any) -> bool:
    return bool(op.op_type == "const" or op.op_type.startswith("constexpr_"))


def _feature(name: str, var: Any) -> Feature:
    if not types.is_tensor(var.sym_type):
        return Feature(name, np.dtype(object), ())
    return replace(_result(var), name=name)


def _result(var: Any) -> Feature:
    """What an operation gives, as it is declared; of a number, rank 0."""
    shape = tuple(None if is_symbolic(dim) else int(dim) for dim in var.shape)
    return Feature(var.name, np.dtype(types.nptype_from_builtin(var.dtype)), shape)


def _fed(feature: Feature, value: Array) -> Array:
    fits = value.ndim == len(feature.shape) and all(
        want is None or want == size for want, size in zip(feature.shape, value.shape, strict=True)
    )
    if not fits:
        want = [dim if dim is not None else "?" for dim in feature.shape]
        raise BadData(f"input '{feature.name}' is of shape {list(value.shape)}; the package takes {want}")
    if value.dtype == feature.dtype:
        return value
    if feature.dtype.kind == "f" and value.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return value.astype(feature.dtype)
    narrowed = value.astype(feature.dtype)
    if value.dtype.kind not in "iub" or not np.array_equal(narrowed, value):
        raise BadData(f"input '{feature.name}' is {value.dtype}; the package takes {feature.dtype}")
    return narrowed


def _last_uses(function: Any) -> dict[int, list[int]]:
    """What nobody reads any more after an operation of the outermost block: by its id, the ids of Vars."""
    last: dict[int, int] = {}
    for op in function.operations:
        for var in _read_by(op):
            last[id(var)] = id(op)
    for var in function.outputs:
        last.pop(id(var), None)
    found: dict[int, list[int]] = {}
    for var_id, op_id in last.items():
        found.setdefault(op_id, []).append(var_id)
    return found


def _read_by(op: Any) -> list[Any]:
    """Vars that an operation reads, those of its blocks too."""
    found = [var for var in op.get_flattened_inputs() if var is not None]
    for block in op.blocks:
        found += [*block.outputs, *(var for inner in block.operations for var in _read_by(inner))]
    return found
