"""How many units go, so that onnxruntime takes a share of the time: by trying shares of the MACs, and measuring."""

from __future__ import annotations

from collections.abc import Sequence

from onnxopt.data import DataSet
from onnxopt.errors import BadOption
from onnxopt.pruning.channels.budget import Limits, of_macs
from onnxopt.pruning.channels.importance import Curve
from onnxopt.pruning.channels.removal import Plan
from onnxopt.pruning.channels.trial import Trials
from onnxopt.runtime.executable import executable, header_of
from onnxopt.runtime.generated_inputs import runnable_inputs
from onnxopt.runtime.latency import latency_ratios
from onnxopt.runtime.session import NotRunnable, Session

_TRIALS = 6
_SAMPLES = 2
_SECONDS = 4.0


def of_latency(trials: Trials, curves: Sequence[Curve], share: float, limits: Limits, data: DataSet | None) -> Plan:
    """As few as bring the time down to a share, onnxruntime's own optimizations on, measured beside the model as it is.

    Raises:
        BadOption: onnxruntime does not run the model, or is not that fast with all removed that may be.
    """
    structure = trials.structure
    best: Plan | None = None
    try:
        with executable(structure.links.edit.main) as model:
            session = Session(model, optimize=True)
            header = header_of(model)
        feeds = list(data.take(_SAMPLES).batches()) if data else runnable_inputs(header, session, 1, dims={})
        low, high = 0.0, 1.0
        for _ in range(_TRIALS):
            middle = (low + high) / 2
            try:
                plan = of_macs(structure, curves, middle, limits)
            except BadOption:  # too far
                low = middle
                continue
            if latency_ratios([session, trials.session(plan)], feeds, seconds=_SECONDS)[1].median <= share:
                best, low = plan, middle
            else:
                high = middle
    except NotRunnable as error:
        raise BadOption(f"latency={share:g} cannot be measured: {error}") from error
    if best is None:
        raise BadOption(f"latency={share:g} is out of reach: give more, or a larger max-ratio")
    return best
