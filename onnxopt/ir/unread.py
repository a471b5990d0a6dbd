"""Initializers and quantization annotations that describe nothing any more."""

from __future__ import annotations

from collections.abc import Callable

from onnxopt.ir.graph import Graph, every_graph
from onnxopt.ir.tensor import Constant, Tensor


def drop_unread(graph: Graph, allow: Callable[[str, str], bool] = lambda what, name: True) -> list[Constant]:
    """Drop the initializers that nothing reads, in every scope, and return them.

    Those that a quantization annotation names as scale or zero point stay; an annotation of a value that the graph has
    no more goes. An input with a default value is no initializer of this kind.

    Args:
        graph: A main graph.
        allow: Asked before each is dropped: what is done, and the name of the initializer or the annotated value.
    """
    given_out = {tensor for scope in every_graph(graph) for tensor in scope.outputs}
    dropped: list[Constant] = []
    for scope in every_graph(graph):
        if scope.quantization_annotation:
            _drop_annotations(scope, given_out, allow)
        needed = _annotation_parameters(scope)
        scope.unused |= {constant for constant in scope.constants if constant.name in needed and not constant.outputs}
        dead = [
            constant
            for constant in scope.constants
            if constant in scope.unused
            and constant.name not in needed
            and constant not in given_out
            and allow("dropped the initializer, which nothing reads", constant.name)
        ]
        if dead:
            gone = set(dead)
            scope.unused -= gone
            scope.constants = [constant for constant in scope.constants if constant not in gone]
            dropped += dead
    return dropped


def _drop_annotations(scope: Graph, given_out: set[Tensor], allow: Callable[[str, str], bool]) -> None:
    read = [constant for constant in scope.constants if constant.outputs or constant in given_out]
    made = [output for node in scope.nodes for output in node.outputs]
    present = {tensor.name for tensor in (*scope.inputs, *made, *read)}
    scope.quantization_annotation = [
        annotation
        for annotation in scope.quantization_annotation
        if annotation.tensor_name in present
        or not allow("dropped the quantization annotation of a value that is gone", annotation.tensor_name)
    ]


def _annotation_parameters(scope: Graph) -> set[str]:
    return {
        entry.value for annotation in scope.quantization_annotation for entry in annotation.quant_parameter_tensor_names
    }
