"""Which groups may be pruned, by names; and the curve of each."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np

from onnxopt.activations.streaming import Report
from onnxopt.data import DataSet
from onnxopt.errors import BadOption
from onnxopt.ir.edit import Edit
from onnxopt.ir.node import Node
from onnxopt.pruning.channels.budget import Limits
from onnxopt.pruning.channels.importance import Curve, Importance, by_activations, by_weights, curve_of
from onnxopt.pruning.channels.output_error import error_curve
from onnxopt.pruning.channels.reader import Reader
from onnxopt.pruning.channels.second_moments import Moments
from onnxopt.pruning.channels.structure import Group


def selected(edit: Edit, groups: Sequence[Group], include: Sequence[str], exclude: Sequence[str]) -> list[Group]:
    """Groups of which a layer that makes the channels is included, and none excluded.

    Raises:
        BadOption: A pattern matches no node.
    """
    for pattern in (*include, *exclude):
        if pattern != "*" and not any(_matches(pattern, node) for node in edit.main.nodes):
            raise BadOption(f"prune-channels: '{pattern}' matches no node or operator; names may hold * and ?")
    found = []
    for group in groups:
        nodes = [use.node for use in group.makers]
        taken = any(_matches(pattern, node) for pattern in include for node in nodes)
        if taken and not any(_matches(pattern, node) for pattern in exclude for node in nodes):
            found.append(group)
    return found


def _matches(pattern: str, node: Node) -> bool:
    names = (node.name, node.op, *(tensor.name for tensor in (*node.inputs[1:2], *node.outputs)))
    return any(fnmatchcase(name, pattern) for name in names if name)


def curves_of(
    edit: Edit,
    groups: Sequence[Group],
    importance: Importance,
    data: DataSet | None,
    known: tuple[dict[Node, Reader], dict[Node, Moments]],
    limits: Limits,
    report: Report | None,
) -> list[Curve]:
    """In which order each group loses its units, and what they cost.

    A group that no layer reads whose error could be told is judged by the squares of its activations.
    """
    if importance in ("l1", "l2"):
        return [curve_of(group, by_weights(group, 1 if importance == "l1" else 2)) for group in groups]
    assert data is not None
    if importance == "activation":
        return [
            curve_of(group, scores)
            for group, scores in zip(groups, by_activations(edit, groups, data, report), strict=True)
        ]
    readers, moments = known
    mine = {group: [readers[use.node] for use in group.readers if use.node in moments] for group in groups}
    others = [group for group in groups if not mine[group]]
    scores = dict(zip(others, by_activations(edit, others, data, report), strict=True)) if others else {}
    return [
        error_curve(
            group, [(reader, moments[reader.node]) for reader in mine[group]], limits.removable(group, group.units)
        )
        if mine[group]
        else _by_squares(group, scores[group])
        for group in groups
    ]


def _by_squares(group: Group, scores: np.ndarray) -> Curve:
    order = np.argsort(scores, kind="stable")
    return Curve(group, order, scores[order] ** 2 / max(float(np.sum(scores**2)), 1e-30))
