"""Whether the lowered model gives what the source gave."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import onnx

from onnxopt.data import inputs_of, open_data
from onnxopt.data.spec import Feeds
from onnxopt.errors import CheckFailed
from onnxopt.runtime.compare import Difference, Tolerance, compare, worst
from onnxopt.runtime.precision import coarsest_rounding
from onnxopt.runtime.session import NotRunnable, Session

Trial = tuple[Feeds, Feeds]
"""Inputs, and the outputs that the source gave, both by name."""
_TOGETHER, _BATCHES = 64, 64
"""Samples that are run together where the model leaves that open, and the most batches of data to compare on."""


def samples(path: Path, data: str) -> list[Feeds]:
    """The first batches of the data given, for the inputs of the lowered model.

    Raises:
        BadData: There are none, or they do not fit.
    """
    specs = inputs_of(onnx.load(path, load_external_data=False))
    return list(itertools.islice(open_data(data, specs).batches(_TOGETHER), _BATCHES))


def require_equal(source: str, path: Path, trials: Sequence[Trial]) -> tuple[Difference, ...]:
    """Run the lowered model, onnxruntime's own optimizations off, and compare all outputs within rounding.

    Args:
        source: What gave the expected outputs, as messages call it.
        path: The lowered model.
        trials: What it gave.

    Returns:
        The worst difference of each output.

    Raises:
        CheckFailed: onnxruntime does not run the model, or an output differs.
    """
    rounding = coarsest_rounding(onnx.load(path, load_external_data=False))
    found: dict[str, Difference] = {}
    try:
        session = Session(path)
        for number, (feeds, expected) in enumerate(trials):
            for difference in compare(expected, session.run(feeds), Tolerance.VALUES, rounding=rounding):
                if not difference.ok:
                    sizes = ", ".join(f"{name} {list(value.shape)}" for name, value in feeds.items())
                    raise CheckFailed(
                        f"the lowered model differs from {source} on inputs {number} ({sizes}): {difference}"
                    )
                so_far = found.get(difference.output, difference)
                found[difference.output] = worst([difference, so_far]) or difference
    except NotRunnable as error:
        raise CheckFailed(f"the lowered model does not run: {error}") from error
    return tuple(found.values())
