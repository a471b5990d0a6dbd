"""How far the outputs of a model are from those of the original."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.activations.streaming import batches
from onnxopt.data import DataSet
from onnxopt.pruning.reconstruction.beside import beside, target_name
from onnxopt.pruning.reconstruction.observing import held_out


def output_error(graph: ir.Graph, original: ir.Graph, data: DataSet) -> float:
    """The squared error of all floating-point outputs on the part of the data held out, in parts of their power."""
    common = {tensor.name for node in original.nodes for tensor in node.outputs}
    common &= {tensor.name for node in graph.nodes for tensor in node.outputs}
    names = [tensor.name for tensor in graph.outputs if tensor.name in common]
    both = beside(graph, names, original, names)
    error = power = 0.0
    for batch in batches(both, [*names, *map(target_name, names)], data) if names else ():
        for name in names:
            ours, theirs = batch.values[name], batch.values[target_name(name)]
            if ours.dtype.kind != "f" or ours.shape != theirs.shape:
                continue
            flat = theirs.reshape(theirs.shape[0] if theirs.ndim else 1, -1).astype(np.float64)
            held = held_out(batch.first, batch.samples, data.length, len(flat))
            error += float(np.square(ours.reshape(flat.shape) - flat)[held].sum())
            power += float(np.square(flat)[held].sum())
    return error / power if power else 0.0
