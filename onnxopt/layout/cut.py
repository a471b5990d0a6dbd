"""The minimum cut of a network: Dinic's algorithm (E. A. Dinic, 1970)."""

from __future__ import annotations

from collections import deque

ENDLESS = 1 << 200
"""The capacity of an edge that must not be cut."""


class Network:
    """A directed network with integer capacities; node 0 is the source, node 1 the sink."""

    SOURCE, SINK = 0, 1

    def __init__(self) -> None:
        self._edges: list[list[int]] = [[], []]
        self._head: list[int] = []
        self._left: list[int] = []

    def node(self) -> int:
        """Add a node; return its number."""
        self._edges.append([])
        return len(self._edges) - 1

    def edge(self, tail: int, head: int, capacity: int) -> None:
        """Add an edge: it costs `capacity` where `tail` is on the source's side and `head` is not."""
        for start, end, room in ((tail, head, capacity), (head, tail, 0)):
            self._edges[start].append(len(self._head))
            self._head.append(end)
            self._left.append(room)

    def source_side(self) -> set[int]:
        """The smallest source side of all minimum cuts."""
        while self.SINK in (level := self._levels()):
            self._push(level)
        return set(level)

    def _levels(self) -> dict[int, int]:
        level = {self.SOURCE: 0}
        pending = deque([self.SOURCE])
        while pending:
            node = pending.popleft()
            for edge in self._edges[node]:
                if self._left[edge] and self._head[edge] not in level:
                    level[self._head[edge]] = level[node] + 1
                    pending.append(self._head[edge])
        return level

    def _push(self, level: dict[int, int]) -> None:
        """Send flow along the shortest paths until none is left."""
        following = dict.fromkeys(level, 0)
        path: list[int] = []
        node = self.SOURCE
        while True:
            if node == self.SINK:
                room = min(self._left[edge] for edge in path)
                for edge in path:
                    self._left[edge] -= room
                    self._left[edge ^ 1] += room
                first = next(index for index, edge in enumerate(path) if not self._left[edge])
                node = self._head[path[first] ^ 1]
                del path[first:]
                continue
            edges = self._edges[node]
            while following[node] < len(edges):
                edge = edges[following[node]]
                if self._left[edge] and level.get(self._head[edge]) == level[node] + 1:
                    path.append(edge)
                    node = self._head[edge]
                    break
                following[node] += 1
            else:
                if not path:
                    return
                node = self._head[path.pop() ^ 1]
                following[node] += 1
