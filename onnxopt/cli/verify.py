"""`onnxopt verify`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnxopt.cli import given
from onnxopt.cli.sources import name_of
from onnxopt.errors import BadOption, CheckFailed

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxopt.cli.progress import Progress
    from onnxopt.data import DataSet
    from onnxopt.data.scoring import Metric
    from onnxopt.pipeline.backend import Backend
    from onnxopt.quantization.layerwise import TensorNoise
    from onnxopt.runtime.evaluation import Accuracy

_SAMPLES = 64
_PROMISE = "values"


_LEAST_SNR = 15.0
"""dB that an artifact has to have beside its model, where nobody says."""


def verify(
    reference: given.ModelFile,
    model: Annotated[
        Path,
        typer.Argument(
            help="An ONNX model, what `lower` makes one of, or an artifact that was emitted of one, such as a DLC.",
            show_default=False,
            readable=False,
        ),
        given.SOURCE,
    ],
    data: given.Data = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"How many samples, or generated inputs; {_SAMPLES}, and all for --metric.", metavar="N"
        ),
    ] = None,
    promise: Annotated[
        str | None,
        typer.Option(
            help=f"What must hold: bits, values (reassociation), accuracy (only measured); {_PROMISE}.", metavar="WHAT"
        ),
    ] = None,
    metric: given.Judge = None,
    labels: given.Labels = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Fail where the metric drops by more, in its unit.", metavar="X", rich_help_panel=given.ACCURACY
        ),
    ] = None,
    at_least: Annotated[
        float | None,
        typer.Option(
            "--at-least",
            help=f"Fail where the metric is less, in its unit; {_LEAST_SNR:g} dB of SNR for an artifact.",
            metavar="X",
            rich_help_panel=given.ACCURACY,
        ),
    ] = None,
    per_layer: Annotated[
        bool,
        typer.Option(
            "--per-layer",
            help="The SNR of each tensor that has the same name in both models.",
            rich_help_panel=given.ACCURACY,
        ),
    ] = False,
    dim: given.Dims = None,
    json: given.Json = False,
) -> None:
    """Run two models on the same inputs and compare every output, or with --metric how accurate they are.

    An artifact runs in its target's own engine, where that runs here: a DLC, or an HTP context binary, on Qualcomm's
    emulator. A Core ML package is evaluated by what MIL documents. Then the metric is snr unless another one is asked
    for.
    """
    from onnxopt.cli.console import print_json, print_view, warn
    from onnxopt.cli.progress import Progress
    from onnxopt.ir.load import load
    from onnxopt.pipeline.backend import backend_of
    from onnxopt.quantization.layerwise import tensor_noise

    given.exclusive(data=data is not None, dim=bool(dim))
    given.exclusive(metric=metric is not None, promise=promise is not None)
    backend = backend_of(model)
    if backend is not None:
        if data is None:
            raise BadOption(f"{model} is no ONNX model, and needs samples to run on: give --data D")
        if per_layer or promise is not None:
            raise BadOption(f"{model} is no ONNX model: it is judged by --metric, as a whole")
        if metric is None:
            metric, at_least = "snr", _LEAST_SNR if at_least is None else at_least
    if per_layer and data is None:
        raise BadOption("--per-layer needs samples to run: give --data D")
    found = given.samples_of(reference, data) if metric is not None or per_layer else None
    judged = given.judging(found, metric, labels, "--data D")
    if judged is None and max_drop is not None:
        raise BadOption("--max-drop is for --metric, which is not given")
    if judged is None and at_least is not None:
        raise BadOption("--at-least is for --metric, which is not given")
    with Progress() as progress:
        limit = samples or (None if judged else _SAMPLES)
        taken = found if found is None or limit is None else found.take(limit)
        if judged is not None and taken is not None:
            outcome = _judged(reference, model, taken, judged[1], _Limits(max_drop, at_least), progress, backend)
        else:
            outcome = _compared(reference, model, promise or _PROMISE, data, samples or _SAMPLES, dim, progress)
        if per_layer and taken is not None:
            outcome.add_layers(tensor_noise(load(reference), load(model), taken, progress.report))
    warn(outcome.notes)
    print_json(outcome.document) if json else print_view(*outcome.views)
    if outcome.fault:
        raise CheckFailed(outcome.fault)


@dataclass
class _Outcome:
    """What was found, ready to be printed."""

    document: dict[str, Any]
    views: list[RenderableType]
    fault: str
    """Why the check failed; empty where it did not."""
    notes: list[str] = field(default_factory=list)

    def add_layers(self, found: Sequence[TensorNoise]) -> None:
        """Tell of the tensors inside too."""
        from onnxopt.report.accuracy import layers_json, layers_table

        self.document["layers"] = layers_json(found)
        self.views += ["", layers_table(found)]


def _compared(
    reference: Path,
    model: Path,
    promise: str,
    data: str | None,
    samples: int,
    dim: list[str] | None,
    progress: Progress,
) -> _Outcome:
    from onnxopt.pipeline.suggest import did_you_mean
    from onnxopt.report.comparison import comparison_json, comparison_table
    from onnxopt.runtime.compare import Tolerance
    from onnxopt.runtime.comparison import compare_models

    known = [tolerance.value for tolerance in Tolerance]
    if promise not in known:
        raise BadOption(
            f"--promise {promise}: there is no such{did_you_mean(promise, known)}; it is one of {', '.join(known)}"
        )
    found = compare_models(reference, model, Tolerance(promise), data, samples, given.dims_of(dim), progress.report)
    broken = [difference for difference in found.differences if not difference.ok]
    more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
    fault = f"{name_of(model)} differs from {name_of(reference)}: {broken[0]}{more}" if broken else ""
    return _Outcome(comparison_json(found), [comparison_table(found)], fault, found.notes)


@dataclass(frozen=True)
class _Limits:
    """What must hold of a metric."""

    max_drop: float | None
    at_least: float | None

    def fault(self, name: str, found: Accuracy) -> str:
        """Why it does not, in one line; empty where it does."""
        fault = found.fault(name, self.max_drop)
        if fault or self.at_least is None or found.model >= self.at_least:
            return fault
        show = found.metric.show
        return f"{name}: {found.metric.name} is {show(found.model)}, and at least {show(self.at_least)} is wanted"


def _judged(
    reference: Path,
    model: Path,
    data: DataSet,
    metric: Metric,
    limits: _Limits,
    progress: Progress,
    backend: type[Backend] | None,
) -> _Outcome:
    from onnxopt.pipeline.sidecar import artifact_bytes
    from onnxopt.report.accuracy import accuracy_json, accuracy_table
    from onnxopt.runtime.evaluation import Subject, evaluate, require_limit

    if limits.max_drop is not None:
        require_limit(metric, limits.max_drop)
    names = (name_of(reference), name_of(model))
    sizes = {"file": (reference.stat().st_size, artifact_bytes(model))}
    if backend is None:
        sizes = {"weights": (_weight_bytes(reference), _weight_bytes(model)), **sizes}
        found = evaluate(Subject(names[0], reference), Subject(names[1], model), data, metric, progress.report)
    else:
        found = backend.evaluate(model, reference, data, metric, progress.report)
    document = {**accuracy_json(found), "max_drop": limits.max_drop, "at_least": limits.at_least, "bytes": sizes}
    view = accuracy_table(found, names, sizes)
    notes = [f"{model} ran {backend.engine}"] if backend is not None and backend.engine else []
    return _Outcome(document, [view], limits.fault(names[1], found), notes)


def _weight_bytes(path: Path) -> int:
    from onnxopt.ir.load import load
    from onnxopt.ir.weights import weights

    return sum(constant.nbytes for constant in weights(load(path)))
