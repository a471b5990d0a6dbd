"""Decision trees with every distinct subtree held once, and the ensembles that they make."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


class Mode(enum.IntEnum):
    """What a split asks of its feature, numbered as `nodes_modes` of TreeEnsemble (ai.onnx.ml 5)."""

    LEQ = 0
    LT = 1
    GTE = 2
    GT = 3
    EQ = 4
    NEQ = 5
    MEMBER = 6


class Split(NamedTuple):
    """An inner node."""

    feature: int
    mode: int
    threshold: int
    """The bits of the number, so that equal means identical: -0.0 and NaN too."""
    nan_is_true: bool
    """What the attribute `nodes_missing_value_tracks_true` says; NEQ is true of NaN without it."""
    members: tuple[int, ...]
    """Bits of the set's numbers where the mode is MEMBER."""
    true: int
    false: int


class Leaf(NamedTuple):
    """What a tree says: targets and the bits of their weights, in the order of the model."""

    votes: tuple[tuple[int, int], ...]


Node: TypeAlias = Split | Leaf


class Forest:
    """Nodes by number, each distinct subtree once, children before their parents.

    Args:
        dtype: float32 or float64, of thresholds and weights.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.nodes: list[Node] = []
        self._numbers: dict[Node, int] = {}

    def add(self, node: Node) -> int:
        """The number of a subtree that is already there, or of it as a new one."""
        number = self._numbers.setdefault(node, len(self.nodes))
        if number == len(self.nodes):
            self.nodes.append(node)
        return number

    def sizes(self) -> list[int]:
        """How many nodes each subtree has when nothing in it is shared."""
        found: list[int] = []
        for node in self.nodes:
            found.append(1 if isinstance(node, Leaf) else 1 + found[node.true] + found[node.false])
        return found

    def bits(self, values: Array) -> list[int]:
        """Numbers as `Split` and `Leaf` hold them."""
        found: list[int] = np.ascontiguousarray(values, self.dtype).view(f"u{self.dtype.itemsize}").tolist()
        return found

    def values(self, bits: Iterable[int]) -> Array:
        """The numbers that bits are."""
        return np.array(list(bits), f"u{self.dtype.itemsize}").view(self.dtype)


@dataclass(frozen=True)
class Ensemble:
    """A TreeEnsembleClassifier, TreeEnsembleRegressor or TreeEnsemble: the same thing in three spellings."""

    forest: Forest
    roots: tuple[int, ...]
    """One for each tree, in the order in which they are added up."""
    targets: int
    """Targets, or classes."""
    aggregate: str = "SUM"
    post_transform: str = "NONE"
    base: tuple[int, ...] = ()
    """Bits of the base values: none, or as many as the attribute has."""
    labels: tuple[int, ...] | tuple[str, ...] | None = None
    """Of a classifier."""

    def with_roots(self, roots: Iterable[int]) -> Ensemble:
        """Other trees of the same forest, for the same targets."""
        return replace(self, roots=tuple(roots))

    def nodes(self) -> int:
        """How many nodes its trees have, each with its own."""
        sizes = self.forest.sizes()
        return sum(sizes[root] for root in self.roots)

    def splits(self) -> list[Split]:
        """The distinct inner nodes of its trees."""
        reached = self.reached()
        return [node for number, node in enumerate(self.forest.nodes) if reached[number] and isinstance(node, Split)]

    def leaves(self) -> list[Leaf]:
        """The distinct leaves of its trees."""
        reached = self.reached()
        return [node for number, node in enumerate(self.forest.nodes) if reached[number] and isinstance(node, Leaf)]

    def reached(self) -> list[bool]:
        """Which nodes of the forest stand in its trees."""
        found = [False] * len(self.forest.nodes)
        for root in self.roots:
            found[root] = True
        for number in range(len(found) - 1, -1, -1):
            node = self.forest.nodes[number]
            if found[number] and isinstance(node, Split):
                found[node.true] = found[node.false] = True
        return found


class Malformed(Exception):
    """The attributes are no ensemble of trees, or one that is not understood; the text says why."""
