"""Two model files on the same inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from onnx import load

from onnxopt.data import DataSet
from onnxopt.errors import BadModel
from onnxopt.ir.load import load as load_graph
from onnxopt.runtime.compare import Difference, Tolerance, compare, worst
from onnxopt.runtime.generated_inputs import runnable_inputs
from onnxopt.runtime.nondeterminism import nondeterministic_outputs
from onnxopt.runtime.precision import coarsest_rounding
from onnxopt.runtime.session import Session


@dataclass(frozen=True)
class Comparison:
    """How one model's outputs differ from another's."""

    differences: list[Difference]
    """For each output the worst over all samples, in the reference's order."""
    samples: int
    """How many sets of inputs were run."""
    notes: list[str] = field(default_factory=list)
    """What was not compared, one line each."""


def compare_models(
    reference: Path,
    model: Path,
    tolerance: Tolerance,
    data: DataSet | None,
    samples: int,
    dims: dict[str, int],
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Comparison:
    """Run both, onnxruntime's own optimizations off, and compare every output of `reference` by name.

    Args:
        reference: The model whose outputs count as right.
        model: The model under test; it takes the same inputs.
        tolerance: What must hold.
        data: Samples for the inputs; generated ones where None.
        samples: The most sets of inputs to run.
        dims: Sizes of symbolic dimensions for generated inputs.
        progress: Told how many sets of inputs are done.

    Raises:
        BadModel: A file is no model, or the two do not take the same inputs.
        NotRunnable: onnxruntime refuses one of them.
    """
    for path in (reference, model):
        load_graph(path)  # our own checks of paths and sizes, before anybody else's loader sees the file
    header = load(reference, load_external_data=False)
    one, other = Session(reference), Session(model)
    if {spec.name for spec in one.inputs} != {spec.name for spec in other.inputs}:
        names = [", ".join(spec.name for spec in session.inputs) for session in (one, other)]
        raise BadModel(f"{reference} takes the inputs {names[0]}, {model} takes {names[1]}")
    skipped = nondeterministic_outputs(header)
    names_out = [spec.name for spec in one.outputs if spec.name not in skipped]
    known = {spec.name for spec in other.outputs}
    rounding = max(coarsest_rounding(header), coarsest_rounding(load(model, load_external_data=False)))
    feeds = (
        data.take(samples).batches() if data is not None else runnable_inputs(header, one, min(samples, 4), dims=dims)
    )
    found: dict[str, Difference] = {}
    count = 0
    for count, batch in enumerate(feeds, 1):
        expected, actual = one.run(batch, names_out), other.run(batch, [name for name in names_out if name in known])
        for difference in compare(expected, actual, tolerance, rounding=rounding):
            largest = worst([difference, *([found[difference.output]] if difference.output in found else [])])
            assert largest is not None, "worst of at least one"
            found[difference.output] = largest
        progress("samples", count, samples)
    notes = [f"'{name}' depends on random operators and was not compared" for name in sorted(skipped)]
    return Comparison(list(found.values()), count, notes)
