"""Random networks without some of their channels compute what they did with those channels zeroed."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnxopt import ir
from tests.pruning.random_channels import networks
from tests.pruning.zeroed import check_pruning, structure_of

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(networks(), st.sampled_from([0.2, 0.5, 0.8]), st.integers(0, 99))
def test_pruned_is_zeroed(graph: ir.Graph, ratio: float, seed: int) -> None:
    if structure_of(graph).groups:
        check_pruning(graph, ratio, seed)
