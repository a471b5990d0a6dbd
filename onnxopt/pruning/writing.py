"""Pruned weights written into a graph."""

from __future__ import annotations

import numpy as np

from onnxopt import ir
from onnxopt.pipeline.base import Context
from onnxopt.pruning.masks import Mask, layer_name
from onnxopt.pruning.on_data import Pruned
from onnxopt.pruning.teacher import remember


def write_pruned(edit: ir.Edit, pruned: Pruned, ctx: Context) -> Mask | None:
    """Set to zero what is not kept, with the new values and bias where there are any.

    Returns:
        The mask: all that is zero now; None where nothing is, or the rewrite is not allowed.
    """
    target, constant = pruned.target, pruned.target.weight.constant
    old = constant.read()
    new = np.where(pruned.keep, old if pruned.weight is None else pruned.weight, np.zeros((), old.dtype))
    mask = Mask(target.name, layer_name(target.node), np.asarray(new != 0))
    if np.array_equal(new, old, equal_nan=True) and pruned.bias is None:
        return mask if mask.zeros else None
    if not ctx.allow(f"{mask.zeros} of {mask.keep.size} weights of '{target.name}' are zero", target.node):
        return None
    remember(edit.main, ctx)
    constant.values = new
    edit.changed = True
    if pruned.layer is not None and pruned.bias is not None:
        pruned.layer.write(edit, None, pruned.bias)
    if mask.zeros == mask.keep.size:
        ctx.warn(f"nothing is left of '{target.name}', the weight of {mask.layer}")
    return mask
