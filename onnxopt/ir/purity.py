"""Which nodes only compute their outputs, and compute the same ones each time."""

from __future__ import annotations

import numpy as np

from onnxopt.ir.edit import inner_nodes, with_inner_nodes
from onnxopt.ir.graph import Function, Graph
from onnxopt.ir.known import known_value
from onnxopt.ir.node import DEFAULT_DOMAINS, Node

_KNOWN_DOMAINS = frozenset(
    {
        *(domain for domain in DEFAULT_DOMAINS if domain is not None),
        "ai.onnx.ml",
        "ai.onnx.preview",
        "ai.onnx.preview.training",
        "ai.onnx.training",
        "com.microsoft",
        "com.microsoft.nchwc",
    }
)
RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Of the default domain. A seed makes neither two of them equal nor one repeatable: onnxruntime draws from a generator
per kernel, whose place among the others changes with the graph."""
RANDOM_CONTRIB = frozenset({"BiasDropout", "BitmaskBiasDropout", "BitmaskDropout", "Sampling"})
"""Of onnxruntime's com.microsoft."""
DROPOUT_IS_TEST_BELOW, _DROPOUT_MODE_INPUT = 7, 12
"""Dropout-1 and -6 train unless `is_test`; Dropout-7 and -10 never do; since Dropout-12 the third input decides."""


class Purity:
    """What the operators of a model do besides computing their outputs. Local functions are judged by their nodes."""

    def __init__(self, main: Graph) -> None:
        self._functions = {function_key(function): function for function in main.functions}
        self._judged: dict[tuple[Function, bool], bool] = {}

    def is_pure(self, node: Node) -> bool:
        """Whether a node, its subgraphs included, does nothing but compute its outputs.

        Operators of a domain that is not known here may do more.
        """
        return self._holds(node, 0, False) and all(self._holds(inner, 0, False) for inner in inner_nodes(node))

    def is_repeatable(self, node: Node, opset: int) -> bool:
        """Whether a pure node also computes the same outputs each time: no random operator, no Dropout in training."""
        return self._holds(node, opset, True) and all(self._holds(inner, opset, True) for inner in inner_nodes(node))

    def called(self, node: Node) -> Function | None:
        """The local function that a node calls."""
        return self._functions.get((_plain(node.domain), node.op, node.overload)) if self._functions else None

    def _holds(self, node: Node, opset: int, repeatable: bool) -> bool:
        function = self.called(node)
        if function is not None:
            return self._function_holds(function, repeatable)
        return _plain(node.domain) in _KNOWN_DOMAINS and not (repeatable and draws_random(node, opset))

    def _function_holds(self, function: Function, repeatable: bool) -> bool:
        key = (function, repeatable)
        if key not in self._judged:
            self._judged[key] = False  # of one that calls itself, which ONNX forbids
            nodes = with_inner_nodes(function.nodes)
            self._judged[key] = all(self._holds(node, function.opset, repeatable) for node in nodes)
        return self._judged[key]


def draws_random(node: Node, opset: int) -> bool:
    """Whether an operator draws random numbers, or may."""
    if not node.is_standard:
        return node.domain == "com.microsoft" and node.op in RANDOM_CONTRIB
    return node.op in RANDOM or (node.op == "Dropout" and may_train(node, opset))


def may_train(dropout: Node, opset: int) -> bool:
    """Whether a Dropout node may drop anything: it is not known to be in inference mode, nor to have a ratio of 0."""
    if opset < DROPOUT_IS_TEST_BELOW:
        return not (isinstance(dropout.attr("is_test"), int) and dropout.attr("is_test"))
    if opset < _DROPOUT_MODE_INPUT:
        return False
    ratio, mode = [*dropout.inputs, None, None][1:3]
    if mode is None or not mode.name:
        return False
    values = [known_value(mode), known_value(ratio) if ratio is not None and ratio.name else None]
    return not any(value is not None and not np.any(value) for value in values)


def function_key(function: Function) -> tuple[str, str, str]:
    """What a node names to call a function: domain, operator, overload."""
    return (_plain(function.domain), function.name, function.overload)


def _plain(domain: str | None) -> str:
    return "" if domain in DEFAULT_DOMAINS else domain or ""
