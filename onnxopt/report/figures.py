"""What was measured, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxopt.pipeline.instruments.verify import Verified
    from onnxopt.runtime.compare import Difference


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
