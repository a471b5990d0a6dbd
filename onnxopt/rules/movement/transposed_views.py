"""Unsqueeze, Transpose, Squeeze of the axes that were new: a Transpose of the others."""

from __future__ import annotations

from dataclasses import dataclass

from onnxopt import ir
from onnxopt.ir.proven import ints
from onnxopt.rules.movement.views import places_of


@dataclass(frozen=True)
class Detour:
    """Three nodes that a Transpose alone can stand for."""

    unsqueeze: ir.Node
    transpose: ir.Node
    perm: list[int]
    """Of the Transpose, once it reads the input of the Unsqueeze."""


def detour_before(squeeze: ir.Node, opsets: dict[ir.Node, int], edit: ir.Edit) -> Detour | None:
    """The Unsqueeze and the Transpose before a Squeeze, if it squeezes the very axes that were unsqueezed.

    Exporters write so what splits a tensor into query, key and value. Nobody else may read what is between them.
    """
    transpose = squeeze.inputs[0].producer
    if squeeze.op != "Squeeze" or transpose is None or not transpose.is_op("Transpose"):
        return None
    unsqueeze, perm = transpose.inputs[0].producer, transpose.attr("perm")
    if unsqueeze not in opsets or unsqueeze.op != "Unsqueeze" or not isinstance(perm, list):
        return None
    alone = (edit.sole_reader(transpose.outputs[0]), edit.sole_reader(unsqueeze.outputs[0]))
    new, gone = ints(unsqueeze, 1, "axes"), ints(squeeze, 1, "axes")
    if alone != (squeeze, transpose) or not new or not gone:
        return None
    added, squeezed = places_of(new, len(perm)), places_of(gone, len(perm))
    if added is None or squeezed is None or {perm[axis] for axis in squeezed} != added:
        return None
    kept = [axis for place, axis in enumerate(perm) if place not in squeezed]
    return Detour(unsqueeze, transpose, [axis - sum(other < axis for other in added) for axis in kept])
