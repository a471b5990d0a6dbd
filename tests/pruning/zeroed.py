"""What a pruned model is held to: the model as it was, with those channels zeroed where they are summed over."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx

from onnxopt import ir
from onnxopt.ir.proven import ProvenShapesNonempty
from onnxopt.pruning.channels.links import Axis
from onnxopt.pruning.channels.removal import kept_indices, remove_units
from onnxopt.pruning.channels.structure import Group, Structure, find_structure
from tests.passes.checks import random_feeds, run

Plan = Mapping[Group, npt.NDArray[np.int64]]


def structure_of(graph: ir.Graph) -> Structure:
    with ir.edit(graph) as edit:
        return find_structure(edit, ProvenShapesNonempty(graph))


def some_units(structure: Structure, ratio: float, seed: int = 0) -> Plan:
    """A part of the units of every group, at random; one at least of each stays."""
    rng = np.random.default_rng(seed)
    plan = {}
    for group in structure.groups:
        count = min(max(1, round(group.units * ratio)), group.units - 1)
        plan[group] = np.sort(rng.choice(group.units, count, replace=False))
    return plan


def zeroed(graph: ir.Graph, ratio: float, seed: int = 0) -> ir.Graph:
    """A copy in which the channels that `some_units` removes are multiplied by 0 before each sum over them."""
    twin = graph.copy()
    structure = structure_of(twin)
    with ir.edit(twin) as edit:
        for group, units in some_units(structure, ratio, seed).items():
            for use in group.readers:
                tensor = use.tensor
                axis = next(axis for axis in group.at if axis.number == use.axis and is_same(axis, use.node, use.at))
                at, which = group.at[axis]
                size = structure.links.size(axis.of, use.axis)
                mask = np.ones(size, _dtype(axis.of, graph))
                mask[at[np.isin(which, units)]] = 0
                rank = structure.links.rank(axis.of)
                shape = [1] * (rank - use.axis)
                shape[0] = size
                output = ir.Variable(edit.fresh("zeroed"), mask.dtype)
                output.__dict__["original"] = original(tensor)
                constant = ir.Constant(edit.fresh("mask"), mask.reshape(shape))
                edit.insert_before(use.node, ir.Node("Mul", inputs=[tensor, constant], outputs=[output]))
                edit.replace_input(use.node, use.at, output)
    ir.sort(twin)
    return twin


def original(tensor: ir.Tensor) -> ir.Tensor:
    return tensor.__dict__.get("original", tensor)


def is_same(axis: Axis, node: ir.Node, index: int) -> bool:
    return axis.of is original(node.inputs[index])


def _dtype(tensor: ir.Tensor, graph: ir.Graph) -> np.dtype:
    return np.dtype(np.float16 if tensor.dtype == np.float16 else np.float32)


def pruned(graph: ir.Graph, ratio: float, seed: int = 0) -> ir.Graph:
    """A copy without the channels that `some_units` removes."""
    twin = graph.copy()
    structure = structure_of(twin)
    with ir.edit(twin) as edit:
        remove_units(edit, structure, kept_indices(structure, some_units(structure, ratio, seed)))
    ir.sort(twin)
    return twin


def check_pruning(
    graph: ir.Graph,
    ratio: float = 0.4,
    seed: int = 0,
    feeds: dict[str, np.ndarray] | None = None,
    groups: int | None = None,
) -> ir.Graph:
    """Prune at random; the result is valid and computes what the original does with those channels zeroed."""
    structure = structure_of(graph.copy())
    assert structure.groups or groups == 0, structure.refused
    assert groups is None or len(structure.groups) == groups, [group.node for group in structure.groups]
    expected, found = ir.to_proto(zeroed(graph, ratio, seed)), ir.to_proto(pruned(graph, ratio, seed))
    onnx.checker.check_model(found, full_check=True)
    feeds = feeds or random_feeds(ir.to_proto(graph), seed)
    one, other = run(expected, feeds), run(found, feeds)
    assert list(one) == list(other)
    for name, array in one.items():
        assert array.shape == other[name].shape and array.dtype == other[name].dtype
        if array.dtype.kind == "f":
            scale = max(float(np.abs(array[np.isfinite(array)]).max(initial=0)), 1e-6)
            np.testing.assert_allclose(array, other[name], rtol=0, atol=2e-5 * scale, err_msg=name)
        else:
            np.testing.assert_array_equal(array, other[name], err_msg=name)
    return ir.from_proto(found)
