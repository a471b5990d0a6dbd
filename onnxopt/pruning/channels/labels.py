"""Indices that go together, as numbers: indices of axes with the same label stand and fall as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import networkx as nx
import numpy as np
import numpy.typing as npt

from onnxopt.pruning.channels.links import Axis, Hidden, Index, Joint, Links


class Labels:
    """A label for every index of every axis that an operator joins or fixes.

    The axes are the nodes of a networkx graph, the joints its edges; within each connected component the indices are
    followed along the joints.

    Args:
        links: For sizes, and what is fixed.
        joints: What goes together.
        more: Axes that are fixed besides, and why.
    """

    def __init__(self, links: Links, joints: Iterable[Joint], more: Mapping[Axis, str]) -> None:
        self.links = links
        self.graph = nx.MultiGraph()
        for axis in (*links.fixed, *more):
            self.graph.add_node(axis)
        for joint in joints:
            self.graph.add_edge(joint.first, joint.second, joint=joint)
        self.start: dict[Axis, int] = {}
        total = 0
        order = {axis: place for place, axis in enumerate(self.graph)}
        self.components: list[list[Axis]] = [
            sorted(found, key=order.__getitem__) for found in nx.connected_components(self.graph)
        ]  # in the order of the model, so that a copy of it gets the same labels
        parts = []
        for component in self.components:
            begin = total
            for axis in component:
                self.start[axis] = total
                total += self.size(axis)
            parts.append(self._label(component, begin, total))
        self.of_index: Index = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        self.reasons: dict[int, str] = {}
        """Of the labels that are fixed."""
        self.free: npt.NDArray[np.bool_] = np.ones(total, bool)
        """By label."""
        for axis, reason in (*links.fixed.items(), *more.items()):
            self._fix(self.of(axis), reason)
        for axis, at, reason in links.fixed_at:
            if axis in self.start:
                self._fix(self.of(axis)[at], reason)

    def size(self, axis: Axis) -> int:
        """The size of an axis."""
        if isinstance(axis.of, Hidden):
            return axis.of.size
        return self.links.size(axis.of, axis.number) or 0

    def of(self, axis: Axis) -> Index:
        """The labels of the indices of an axis."""
        begin = self.start[axis]
        return self.of_index[begin : begin + self.size(axis)]

    def free_on(self, axis: Axis) -> Index:
        """The different labels on an axis that are not fixed."""
        found = np.unique(self.of(axis)) if axis in self.start else np.zeros(0, np.int64)
        return found[self.free[found]]

    def reason(self, axis: Axis) -> str | None:
        """Why something of an axis is fixed, if it is."""
        if axis not in self.start:
            return None
        return next((self.reasons[label] for label in self.of(axis).tolist() if label in self.reasons), None)

    def _fix(self, labels: Index, reason: str) -> None:
        fresh = np.unique(labels[self.free[labels]])
        self.free[fresh] = False
        self.reasons.update(dict.fromkeys(fresh.tolist(), reason))

    def _label(self, component: list[Axis], begin: int, end: int) -> Index:
        ends = [self._ends(data["joint"]) for _, _, data in self.graph.edges(component, data=True)]
        first = np.concatenate([one for one, _ in ends]) - begin if ends else np.zeros(0, np.int64)
        second = np.concatenate([two for _, two in ends]) - begin if ends else np.zeros(0, np.int64)
        return united(end - begin, first, second) + begin

    def _ends(self, joint: Joint) -> tuple[Index, Index]:
        one, two = (
            np.arange(self.size(axis)) if at is None else at for axis, at in zip(joint[:2], joint[2:], strict=True)
        )
        return one + self.start[joint.first], two + self.start[joint.second]

    def occurrences(self) -> Iterator[tuple[Axis, Index]]:
        """Every axis with its labels."""
        for axis in self.start:
            yield axis, self.of(axis)


def united(count: int, first: Index, second: Index) -> Index:
    """The least member of the class of each of `count` elements, where first[i] and second[i] are of one class."""
    labels = np.arange(count)
    while True:
        one, two = labels[first], labels[second]
        least = np.minimum(one, two)
        if np.array_equal(one, two):
            return labels
        np.minimum.at(labels, one, least)
        np.minimum.at(labels, two, least)
        while not np.array_equal(shorter := labels[labels], labels):
            labels = shorter
