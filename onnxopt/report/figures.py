"""What was measured, as JSON."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxopt.ir.costs import Costs
    from onnxopt.pipeline.instruments.verify import Verified
    from onnxopt.runtime.compare import Difference


def costs_json(costs: Costs) -> dict[str, Any]:
    """All figures of a model; those by node apart, since nodes need not have names."""
    return {field.name: getattr(costs, field.name) for field in fields(costs) if field.name != "macs_by_node"}


def difference_json(difference: Difference) -> dict[str, Any]:
    """How one output differs."""
    return dict(vars(difference))


def verified_json(check: Verified) -> dict[str, Any]:
    """A comparison with the input model: after which pass, held to what, and the output that differs most."""
    return {
        "after": None if check.run is None else check.run.index,
        "promise": check.promise.value,
        "worst": None if check.worst is None else difference_json(check.worst),
    }
