"""Minimum cuts, against all cuts of small networks."""

from __future__ import annotations

import random
from itertools import product

import pytest

from onnxopt.layout.cut import Network


@pytest.mark.parametrize("seed", range(60))
def test_no_cut_is_cheaper_and_no_cheapest_one_is_smaller(seed: int) -> None:
    rng = random.Random(seed)
    network = Network()
    inner = [network.node() for _ in range(rng.randrange(1, 6))]
    nodes = [Network.SOURCE, Network.SINK, *inner]
    edges = [(*rng.sample(nodes, 2), rng.randrange(4)) for _ in range(rng.randrange(1, 14))]
    for tail, head, capacity in edges:
        network.edge(tail, head, capacity)

    def cost(side: set[int]) -> int:
        return sum(capacity for tail, head, capacity in edges if tail in side and head not in side)

    sides = [
        {Network.SOURCE, *(node for node, chosen in zip(inner, choice, strict=True) if chosen)}
        for choice in product((False, True), repeat=len(inner))
    ]
    cheapest = min(map(cost, sides))
    found = network.source_side()
    assert cost(found) == cheapest
    assert all(found <= side for side in sides if cost(side) == cheapest)
