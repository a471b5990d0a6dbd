"""The groups of channels of a model: what can be removed, unit by unit, and all that goes with it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from onnxopt.ir.edit import Edit
from onnxopt.ir.node import Node
from onnxopt.ir.proven import ProvenShapes
from onnxopt.ir.tensor import Constant
from onnxopt.linear.match import label
from onnxopt.pruning.channels.labels import Labels
from onnxopt.pruning.channels.links import Axis, Choice, Hidden, Index, Links, Option, Use
from onnxopt.pruning.channels.rules.table import RULES

_ROUNDS = 5
"""How often another way is tried where one leaves nothing to remove."""


@dataclass(eq=False)
class Group:
    """Units that can be removed one by one, each from the same axes: the outputs of a Conv and all that follows them,
    or the heads of an attention. A unit is a channel, or several that go together."""

    units: int
    place: int = 0
    """Among all groups, in an order that is the same for a copy of the model."""
    at: dict[Axis, tuple[Index, Index]] = field(default_factory=dict)
    """For each axis the indices that belong to units, and to which one."""
    makers: list[Use] = field(default_factory=list)
    """Weights with the units on their output channels."""
    readers: list[Use] = field(default_factory=list)
    """Inputs that are summed over an axis with units."""

    @property
    def node(self) -> Node:
        """The first layer that makes the units."""
        return self.makers[0].node


@dataclass
class Structure:
    """All groups of the main graph, and why other channels stay."""

    links: Links
    groups: list[Group]
    chosen: list[Option]
    refused: list[tuple[Node, str]]
    """Layers that keep all their outputs."""


def find_structure(edit: Edit, shapes: ProvenShapes) -> Structure:
    """What the operators of the main graph let go."""
    links = Links(edit, shapes)
    main = edit.main
    for node in main.nodes:
        if not node.is_op("Constant"):
            rule = RULES.get(node.op) if node.is_standard and not any(node.subgraphs()) else None
            links.visit(node, rule, label(node))
    _fix_interface(links)
    labels, chosen = _decide(links)
    groups = _groups(links, labels)
    return Structure(links, groups, chosen, _refused(links, labels, groups))


def _fix_interface(links: Links) -> None:
    main = links.edit.main
    for tensor in (*main.inputs, *main.outputs):
        kind = "an input" if tensor in main.inputs else "an output"
        for axis in links.axes(tensor):
            links.fix(axis, f"'{tensor.name}' is {kind} of the model")
    mine = set(main.nodes)
    for tensor in dict.fromkeys(tensor for node in main.nodes for tensor in (*node.inputs, *node.outputs)):
        if any(reader not in mine for reader in tensor.outputs):
            for axis in links.axes(tensor):
                links.fix(axis, f"'{tensor.name}' is read in a subgraph")


def _decide(links: Links) -> tuple[Labels, list[Option]]:
    """Choose, of what operators leave open, the first way that leaves something to remove."""
    before = Labels(links, links.joints, {})
    open_ = _viable(links, before)
    turns = [0] * len(open_)
    for _ in range(_ROUNDS):
        chosen = [options[turn] for (_, options), turn in zip(open_, turns, strict=True) if options]
        labels = _labelled(links, open_, turns)
        stuck = [
            place
            for place, (_, options) in enumerate(open_)
            if turns[place] + 1 < len(options)
            and any(len(labels.free_on(axis)) < 2 for axis in options[turns[place]].carriers)
        ]
        if not stuck:
            break
        for place in stuck:
            turns[place] += 1
    return labels, chosen


def _viable(links: Links, before: Labels) -> list[tuple[Choice, list[Option]]]:
    """The ways of each operator that nothing forbids so far; first those that carry on what others were given first.

    What is split into [2, 4] and transposed is to be merged again by the same factor.
    """
    component = {axis: place for place, axes in enumerate(before.components) for axis in axes}
    dead: set[int | None] = set()
    found = []
    for choice in links.choices:
        viable = [
            option
            for option in choice.options
            if all(axis not in before.start or len(before.free_on(axis)) > 0 for axis in option.carriers)
        ]
        viable.sort(key=lambda option: sum(component.get(axis) in dead for axis in option.carriers))
        if viable:
            carried = set(viable[0].carriers)
            dead.update(component[axis] for axis in choice.axes if axis not in carried and axis in component)
        found.append((choice, viable))
    return found


def _labelled(links: Links, open_: list[tuple[Choice, list[Option]]], turns: list[int]) -> Labels:
    joints, fixed = list(links.joints), dict[Axis, str]()
    for (choice, options), turn in zip(open_, turns, strict=True):
        taken = options[turn].joints if options else []
        joints += taken
        carried = {axis for joint in taken for axis in joint[:2]}
        for axis in choice.axes:
            if axis not in carried:
                fixed[axis] = f"{label(choice.node)} regroups what it holds"
    return Labels(links, joints, fixed)


def _groups(links: Links, labels: Labels) -> list[Group]:
    """Free labels that occur on the same axes are units of one group."""
    rng = np.random.default_rng(0)
    signature = np.zeros(len(labels.free), np.uint64)
    for axis, found in labels.occurrences():
        if not isinstance(axis.of, Hidden):
            signature[np.unique(found)] += rng.integers(1 << 63, dtype=np.uint64)
    free = np.unique(labels.of_index)
    free = free[labels.free[free]]
    _, first, which = np.unique(signature[free], return_index=True, return_inverse=True)
    place_of = np.argsort(np.argsort(first))  # by the first label, not by the signature
    which = place_of[which]
    groups = [Group(0, place) for place in range(len(first))]
    group_of, unit_of = np.full(len(labels.free), -1), np.zeros(len(labels.free), np.int64)
    group_of[free] = which
    counts = np.bincount(which, minlength=len(groups))
    in_order = np.argsort(which, kind="stable")
    unit_of[free[in_order]] = np.arange(len(free)) - np.repeat(np.cumsum(counts) - counts, counts)
    for group, count in zip(groups, counts.tolist(), strict=True):
        group.units = count
    for axis, found in labels.occurrences():
        owners = group_of[found]
        for place in np.unique(owners[owners >= 0]).tolist():
            at = np.flatnonzero(owners == place)
            groups[place].at[axis] = (at, unit_of[found[at]])
    by_axis: dict[Axis, list[Group]] = {}
    for group in groups:
        for axis in group.at:
            by_axis.setdefault(axis, []).append(group)
    for uses, name in ((links.makers, "makers"), (links.readers, "readers")):
        for use in uses:
            for group in by_axis.get(Axis(use.tensor, use.axis), ()):
                getattr(group, name).append(use)
    order = {node: place for place, node in enumerate(links.edit.main.nodes)}
    found_groups = [group for group in groups if group.units > 1 and group.makers and group.readers]
    for group in found_groups:
        group.makers.sort(key=lambda use: order[use.node])
        group.readers.sort(key=lambda use: order[use.node])
    return sorted(found_groups, key=lambda group: order[group.node])


def _refused(links: Links, labels: Labels, groups: list[Group]) -> list[tuple[Node, str]]:
    makers = {use for group in groups for use in group.makers}
    found: dict[Node, str] = {}
    for use in links.makers:
        tensor = use.tensor
        axis = Axis(tensor, use.axis)
        is_weight = isinstance(tensor, Constant) or (tensor.producer is not None and tensor.producer.is_op("Constant"))
        if is_weight and use not in makers and (links.size(tensor, use.axis) or 0) > 1:
            found.setdefault(use.node, labels.reason(axis) or "all its outputs go together, or nothing reads them")
    return list(found.items())
