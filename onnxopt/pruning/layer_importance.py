"""What an error of one layer does to the model: by it the errors of different layers can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from onnxopt import ir
from onnxopt.activations.streaming import stream
from onnxopt.data import DataSet
from onnxopt.ir.weights import weights
from onnxopt.linear.layer import Array, Layer

_SAMPLES = 16
"""To measure on, at most."""
_WORK = 4_000_000_000
"""Bytes of weights that are handed to onnxruntime for all measurements together: more would take too long."""


class LayerImportance:
    """Runs a copy of a model with one layer changed at a time, and compares what it gives out.

    Its share of an output's energy is the measure, summed over the outputs.
    """

    def __init__(self, graph: ir.Graph, data: DataSet) -> None:
        self._graph = graph.copy()
        self._data = data.take(_SAMPLES)
        self._nodes = {node.outputs[0].name: node for node in self._graph.nodes if node.outputs}
        self._names = [output.name for output in self._graph.outputs]
        self._wanted = [{name: np.array(value) for name, value in values.items()} for values in self._run()]

    @staticmethod
    def is_affordable(graph: ir.Graph, layers: int) -> bool:
        """Whether so many layers can be measured in a time that the pruning itself would take."""
        return sum(each.nbytes for each in weights(graph)) * layers <= _WORK

    def error(self, layer: Layer, weight: Array, bias: Array | None) -> float | None:
        """The mean square error of the model's outputs with these weights; None where they cannot be compared.

        Args:
            layer: One of the graph's.
            weight: In place of the layer's own.
            bias: Likewise; None: its own.
        """
        node = self._nodes[layer.node.outputs[0].name]
        own = node.inputs[1:3]
        given = [weight] if bias is None else [weight, bias]
        with ir.edit(self._graph) as edit:
            for index, array in enumerate(given, 1):
                edit.replace_input(node, index, ir.Constant(edit.fresh("trial"), np.ascontiguousarray(array)))
        try:
            return self._share_lost()
        finally:
            with ir.edit(self._graph) as edit:
                for index, tensor in enumerate(own[: len(given)], 1):
                    edit.replace_input(node, index, tensor)

    def _run(self) -> Iterator[Mapping[str, Array]]:
        return stream(self._graph, self._names, self._data, batch=1)

    def _share_lost(self) -> float | None:
        errors, energies = dict.fromkeys(self._names, 0.0), dict.fromkeys(self._names, 0.0)
        for found, wanted in zip(self._run(), self._wanted, strict=True):
            for name in self._names:
                if found[name].shape != wanted[name].shape or found[name].dtype.kind != "f":
                    continue
                reference = wanted[name].astype(np.float64)
                errors[name] += float(np.square(found[name] - reference).sum())
                energies[name] += float(np.square(reference).sum())
        shares = [errors[name] / energies[name] for name in self._names if energies[name] > 0]
        total = sum(shares)
        return total if shares and np.isfinite(total) else None
