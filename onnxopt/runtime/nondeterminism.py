"""Which outputs may differ from run to run, and so cannot be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, numpy_helper

from onnxopt.ir.purity import DROPOUT_IS_TEST_BELOW, RANDOM, RANDOM_CONTRIB
from onnxopt.runtime.scopes import Scope, subgraphs

_DEFAULT_DOMAIN = ("", "ai.onnx")
_SMALL = 16
"""Constants above this many elements decide no Dropout."""


def nondeterministic_outputs(model: ModelProto) -> set[str]:
    """Names of the graph outputs that depend on a random operator, or on a Dropout that may be training.

    Follows the data forward once, into subgraphs and functions; nodes must be in topological order, as the IR
    specification asks. Errs towards random: a Loop, a Scan or a function with any random input is random in all its
    outputs.
    """
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    return {output.name for output in model.graph.output} & _Flow(functions, model).random_in(model.graph, _Names())


class _Names:
    """What is known about names in one scope and, unless it has its own, in those around it."""

    def __init__(self, outer: _Names | None = None) -> None:
        self.outer = outer
        self.random: dict[str, bool] = {}
        self.constants: dict[str, bool] = {}
        """Small constants, as "is any element non-zero"."""

    def is_random(self, name: str) -> bool:
        return next((scope.random[name] for scope in self._scopes() if name in scope.random), False)

    def truth(self, name: str) -> bool | None:
        return next((scope.constants[name] for scope in self._scopes() if name in scope.constants), None)

    def _scopes(self) -> Iterable[_Names]:
        scope: _Names | None = self
        while scope is not None:
            yield scope
            scope = scope.outer


class _Flow:
    def __init__(self, functions: Mapping[tuple[str, str, str], FunctionProto], model: ModelProto) -> None:
        self.functions = functions
        self.opset = next((o.version for o in model.opset_import if o.domain in _DEFAULT_DOMAIN), 1)
        self.known: dict[int, list[bool]] = {}
        """For each function met, by identity: which outputs are random whatever goes in."""

    def random_in(self, scope: Scope, names: _Names) -> set[str]:
        """The random names of a scope, `names` being filled as it is walked."""
        if isinstance(scope, GraphProto):
            for tensor in scope.initializer:
                if np.prod(tensor.dims) <= _SMALL and not tensor.external_data:
                    names.constants[tensor.name] = bool(np.any(numpy_helper.to_array(tensor)))
        for node in scope.node:
            if node.op_type == "Constant" and len(node.output) == 1 and (value := _constant(node)) is not None:
                names.constants[node.output[0]] = value
            for name, random in zip(node.output, self._outputs(node, names), strict=True):
                names.random[name] = random
        return {name for name, random in names.random.items() if random and name}

    def _outputs(self, node: NodeProto, names: _Names) -> list[bool]:
        inputs = any(names.is_random(name) for name in node.input)
        everything = [True] * len(node.output)
        if inputs or self._draws(node, names):
            return everything
        if function := self.functions.get((node.domain, node.op_type, node.overload)):
            return (self._function(function) + everything)[: len(node.output)]
        bodies = [self._body(graph, names) for graph in subgraphs(node)]
        if node.op_type == "If" and all(len(body) == len(node.output) for body in bodies):
            return [any(branches) for branches in zip(*bodies, strict=True)]
        return [any(map(any, bodies))] * len(node.output)

    def _body(self, graph: GraphProto, names: _Names) -> list[bool]:
        inner = _Names(names)
        self.random_in(graph, inner)
        return [inner.is_random(output.name) for output in graph.output]

    def _function(self, function: FunctionProto) -> list[bool]:
        if id(function) not in self.known:
            self.known[id(function)] = [True] * len(function.output)  # of one that calls itself, which ONNX forbids
            random = self.random_in(function, _Names())
            self.known[id(function)] = [name in random for name in function.output]
        return self.known[id(function)]

    def _draws(self, node: NodeProto, names: _Names) -> bool:
        if node.domain not in _DEFAULT_DOMAIN:
            return node.domain == "com.microsoft" and node.op_type in RANDOM_CONTRIB
        if node.op_type != "Dropout":
            return node.op_type in RANDOM
        if self.opset < DROPOUT_IS_TEST_BELOW:  # Dropout-1 and -6 train unless `is_test`
            return not any(attribute.name == "is_test" and attribute.i for attribute in node.attribute)
        ratio, training = (*node.input, "", "", "")[1:3]  # inputs since Dropout-12
        return bool(training) and names.truth(training) is not False and (not ratio or names.truth(ratio) is not False)


def _constant(node: NodeProto) -> bool | None:
    """Whether a Constant holds anything but zeros; None when that takes reading much."""
    for attribute in node.attribute:
        if attribute.name == "value" and np.prod(attribute.t.dims) <= _SMALL and not attribute.t.external_data:
            return bool(np.any(numpy_helper.to_array(attribute.t)))
        if attribute.name in ("value_int", "value_float"):
            return bool(attribute.i or attribute.f)
    return None
