"""A model of torch exported, compared with torch, and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch.utils import _pytree as pytree

from onnxopt.data.spec import Feeds
from onnxopt.errors import BadModel, BadOption, CheckFailed, OnnxoptError
from onnxopt.frontends.comparing import Trial, require_equal, samples
from onnxopt.frontends.finishing import NotFinished, finish
from onnxopt.frontends.torch.exporting import NotExported, export, exporters
from onnxopt.frontends.torch.inputs import Inputs, like, resized
from onnxopt.frontends.torch.subject import Subject
from onnxopt.frontends.wanted import COMMON, Lowered, Wanted

OPTIONS = COMMON | {"exporter", "dynamic", "input_names", "output_names", "examples", "keep_batchnorm"}
_RANDOM = 3
"""Random inputs to compare on; dynamic axes are of another size in each."""


def lower(subject: Subject, wanted: Wanted, path: Path) -> Lowered:
    """Export, compare with torch, and write to `path`.

    Raises:
        BadModel: The model does not run, or no exporter takes it.
        CheckFailed: The exported model gives other outputs than torch.
    """
    torch.manual_seed(0)
    try:
        names = _output_names(subject.outputs(subject.inputs), wanted, subject)
        trials, notes = _trials(subject, names)
    except OnnxoptError:
        raise
    except Exception as error:  # the module's own code
        raise BadModel(f"{subject.name} does not run on its example inputs: {_one_line(error)}") from error
    tried = exporters(subject, wanted)
    failed: list[str] = []
    for exporter in tried:
        try:
            lowered = _exported(subject, exporter, wanted, names, trials, path)
        except (NotExported, NotFinished, BadModel, CheckFailed) as error:
            failed.append(f"torch's {exporter} exporter: {error}")
            if exporter != tried[-1]:
                continue
            kind = CheckFailed if isinstance(error, CheckFailed) else BadModel
            raise kind(f"{subject.name}: {'; '.join(reversed(failed))}") from error
        why = [f"not by {reason}" for reason in failed]
        return Lowered(lowered.by, lowered.compared, lowered.differences, (*why, *notes, *lowered.notes))
    raise AssertionError("there is an exporter")


def _exported(
    subject: Subject, exporter: str, wanted: Wanted, names: Sequence[str], trials: list[Trial], path: Path
) -> Lowered:
    repaired = export(subject, exporter, wanted, names, path)
    notes = finish(path, wanted.opset)
    if repaired:
        inner = ", ".join(f"'{name}'" for name in repaired)
        notes.append(f"the exporter gave the name {inner} to several values: those inside have another now")
    what = f"the example inputs and {len(trials) - 1} random ones"
    if wanted.data is not None:
        given = [(feeds, _run(subject, feeds, names)) for feeds in samples(path, wanted.data)]
        trials, what = [*trials, *given], f"{what}, {len(given)} batch{'es' * (len(given) != 1)} of {wanted.data}"
    return Lowered(
        f"torch {torch.__version__}, {exporter} exporter", what, require_equal("torch", path, trials), tuple(notes)
    )


def _trials(subject: Subject, names: Sequence[str]) -> tuple[list[Trial], list[str]]:
    """The example and random inputs with what torch makes of them, and where it did not take other sizes."""
    found = [_trial(subject, subject.inputs, names)]
    notes = []
    for seed in range(1, _RANDOM + 1):
        trial, refused = _random_trial(subject, seed, names)
        found.append(trial)
        notes += [f"torch itself does not take dynamic axes larger by {seed}: {refused}"] * bool(refused)
    return found, notes[:1]


def _random_trial(subject: Subject, seed: int, names: Sequence[str]) -> tuple[Trial, str]:
    """Random inputs, larger where axes are dynamic; or of the example's sizes, and why torch took no other."""
    try:
        return _trial(subject, like(resized(subject.inputs, subject.axes, seed), seed), names), ""
    except Exception as error:  # the module's own code, and guards of an exported program
        if not subject.axes:
            raise
        return _trial(subject, like(subject.inputs, seed), names), _one_line(error)


def _trial(subject: Subject, inputs: Inputs, names: Sequence[str]) -> Trial:
    feeds = {name: _array(tensor) for name, tensor in zip(inputs.names, inputs.tensors, strict=True)}
    return feeds, _named(subject.outputs(inputs), names)


def _run(subject: Subject, feeds: Mapping[str, Any], names: Sequence[str]) -> Feeds:
    tensors = [torch.from_numpy(np.array(feeds[name])) for name in subject.inputs.names]
    return _named(subject.outputs(subject.inputs.with_tensors(tensors)), names)


def _named(outputs: Any, names: Sequence[str]) -> Feeds:
    return {name: _array(tensor) for name, tensor in zip(names, _tensors(outputs), strict=True)}


def _tensors(outputs: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]


def _array(tensor: torch.Tensor) -> Any:
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:  # numpy has none
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _output_names(outputs: Any, wanted: Wanted, subject: Subject) -> tuple[str, ...]:
    """The names asked for, else the keys of a dict, else `output`, numbered where there are several."""
    count = len(_tensors(outputs))
    if not count:
        raise BadModel(f"{subject.name} gives no tensors")
    names = wanted.output_names
    if not names and isinstance(outputs, Mapping):
        names = tuple(str(key) for key, value in outputs.items() if isinstance(value, torch.Tensor))
    if not wanted.output_names and len(names) != count:
        names = ("output",) if count == 1 else tuple(f"output_{index}" for index in range(count))
    if len(names) != count:
        raise BadOption(f"--output-names has {len(names)} names, and {subject.name} gives {count} tensors")
    if both := sorted(set(names) & set(subject.inputs.names)):
        raise BadOption(f"'{both[0]}' would be an input and an output: give other --input-names or --output-names")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise BadOption(f"--output-names: '{repeated[0]}' is given twice")
    return names


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
