"""Two model files on the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import ModelProto

from onnxopt.data import Feeds, open_data
from onnxopt.errors import BadModel
from onnxopt.ir.load import load
from onnxopt.runtime.compare import Difference, Tolerance, compare, worst
from onnxopt.runtime.generated_inputs import runnable_inputs
from onnxopt.runtime.nondeterminism import nondeterministic_outputs
from onnxopt.runtime.precision import coarsest_rounding
from onnxopt.runtime.session import NotRunnable, Session

_GENERATED = 4
"""The most sets of generated inputs: random numbers soon repeat what they have to say."""


@dataclass(frozen=True)
class Comparison:
    """How one model's outputs differ from another's."""

    differences: list[Difference]
    """For each output the worst over all samples, in the reference's order."""
    samples: int
    """How many sets of inputs were run."""
    inputs: str
    """What they were, for people."""
    notes: list[str] = field(default_factory=list)
    """What was not compared, one line each."""


def compare_models(
    reference: Path,
    model: Path,
    tolerance: Tolerance,
    data: str | None,
    samples: int,
    dims: dict[str, int],
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Comparison:
    """Run both, onnxruntime's own optimizations off, and compare every output of `reference` by name.

    Args:
        reference: The model whose outputs count as right.
        model: The model under test; it takes the same inputs.
        tolerance: What must hold.
        data: Samples for the inputs, as `open_data` takes them; generated ones where None.
        samples: The most sets of inputs to run.
        dims: Sizes of symbolic dimensions for generated inputs.
        progress: Told how many sets of inputs are done.

    Raises:
        BadModel: A file is no model, or the two do not take the same inputs.
        BadData: The data do not fit.
        NotRunnable: onnxruntime refuses one of them.
    """
    one, other = _Loaded(reference), _Loaded(model)
    if one.takes() != other.takes():
        raise BadModel(f"{reference} takes {_listed(one.takes())}; {model} takes {_listed(other.takes())}")
    feeds, total = _feeds(one, data, samples, dims)
    skipped = nondeterministic_outputs(one.header)
    names = [spec.name for spec in one.session.outputs if spec.name not in skipped]
    rounding = max(one.rounding, other.rounding)
    found: dict[str, Difference] = {}
    count = 0
    for count, fed in enumerate(feeds, 1):
        for difference in compare(one.run(fed, names), other.run(fed, names), tolerance, rounding=rounding):
            so_far = found.get(difference.output, difference)
            found[difference.output] = worst([difference, so_far]) or difference
        progress("samples", count, total)
    inputs = f"{count} batch{'es' * (count != 1)} of {data}" if data else f"{count} generated sets of inputs"
    notes = [f"output '{name}' depends on random operators and was not compared" for name in sorted(skipped)]
    extra = sorted(other.gives() - one.gives())
    notes += [f"output '{name}' is in {model} only, and was not compared" for name in extra]
    return Comparison(list(found.values()), count, inputs, notes)


class _Loaded:
    """A model file that passed our own checks of paths and sizes before anybody else's loader saw it."""

    def __init__(self, path: Path) -> None:
        load(path)
        self.path = path
        self.header: ModelProto = onnx.load(path, load_external_data=False)
        try:
            self.session = Session(path)
        except NotRunnable as error:
            raise NotRunnable(f"{path}: {error}") from error
        self.rounding = coarsest_rounding(self.header)

    def takes(self) -> dict[str, str]:
        """Kind and element type by input."""
        return {spec.name: f"{spec.kind} {spec.dtype}" for spec in self.session.inputs}

    def gives(self) -> set[str]:
        return {spec.name for spec in self.session.outputs}

    def run(self, feeds: Feeds, names: list[str]) -> Feeds:
        """Those of the outputs that it has."""
        known = self.gives()
        try:
            return self.session.run(feeds, [name for name in names if name in known])
        except NotRunnable as error:
            raise NotRunnable(f"{self.path}: {error}") from error


def _feeds(model: _Loaded, data: str | None, samples: int, dims: dict[str, int]) -> tuple[Iterable[Feeds], int]:
    """What to run, and about how many of it there are."""
    if data is None:
        count = min(samples, _GENERATED)
        return runnable_inputs(model.header, model.session, count, dims=dims), count
    taken = open_data(data, model.session.inputs).take(samples)
    return taken.batches(), taken.length or samples


def _listed(takes: dict[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in takes.items()) or "no inputs"
