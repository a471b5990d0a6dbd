"""torch's two exporters: dynamo first, TorchScript's where that fails, and why."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch

from onnxopt.errors import BadModel, OnnxoptError
from onnxopt.frontends.torch.inputs import resized
from onnxopt.frontends.torch.ssa import repair
from onnxopt.frontends.torch.subject import Subject
from onnxopt.frontends.wanted import AUTO, DYNAMO, TORCHSCRIPT, Wanted

_OLDEST = {DYNAMO: 18, TORCHSCRIPT: 9}
_NEWEST = {DYNAMO: 25, TORCHSCRIPT: 20}
"""The opsets that they write themselves; others are converted to."""


class NotExported(OnnxoptError):
    """An exporter failed."""


def exporters(subject: Subject, wanted: Wanted) -> tuple[str, ...]:
    """The exporters to try, in order.

    Raises:
        BadModel: The one that is asked for does not read such a file.
    """
    if isinstance(subject.exported, torch.jit.ScriptModule):
        if wanted.exporter == DYNAMO:
            raise BadModel(
                f"{subject.name} is TorchScript, which the dynamo exporter does not read: --exporter torchscript"
            )
        return (TORCHSCRIPT,)
    return (DYNAMO, TORCHSCRIPT) if wanted.exporter == AUTO else (wanted.exporter,)


def export(subject: Subject, exporter: str, wanted: Wanted, outputs: Sequence[str], path: Path) -> list[str]:
    """Write the model to `path`; return what had to be repaired.

    Raises:
        NotExported: The exporter failed.
    """
    subject = _without_sizes_of_one(subject, exporter)
    opset = wanted.opset and min(max(wanted.opset, _OLDEST[exporter]), _NEWEST[exporter])
    options: dict[str, Any] = {"input_names": list(subject.inputs.names), "output_names": list(outputs)}
    options |= {"opset_version": opset, "external_data": _is_large(subject), "verbose": False}
    given: tuple[Any, ...] = (subject.exported, subject.inputs.args)
    if exporter == DYNAMO:
        options |= {"dynamo": True, "optimize": not wanted.keep_batchnorm}
        if subject.is_program:
            given = (subject.exported,)
        elif subject.axes:
            options["dynamic_shapes"] = _dynamic_shapes(subject)
    else:
        # Constant folding would fold BatchNormalization into the convolution before it as well.
        options |= {"dynamo": False, "do_constant_folding": not wanted.keep_batchnorm}
        options["dynamic_axes"] = {name: dict(axes) for name, axes in subject.axes.items()}
        if subject.is_program:
            given = (subject.module, subject.inputs.args)
    kwargs = {} if subject.is_program and exporter == DYNAMO else {"kwargs": subject.inputs.kwargs or None}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(*given, f=str(path), **kwargs, **options)
    except Exception as error:  # whatever an exporter raises
        raise NotExported(_reason(error)) from error
    return _repaired(path)


def _repaired(path: Path) -> list[str]:
    """Give every value a name of its own, and remove what tells of the machine: stack traces name its files."""
    model = onnx.load(path, load_external_data=False)
    found = repair(model)
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.node]
    for noted in (model, model.graph, *values, *model.functions, *(n for f in model.functions for n in f.node)):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    path.write_bytes(model.SerializeToString())
    return found


def _without_sizes_of_one(subject: Subject, exporter: str) -> Subject:
    """torch.export takes a dynamic axis of size 0 or 1 in the example for a constant: make it 2 and more."""
    if exporter != DYNAMO or subject.is_program:
        return subject
    tensors = zip(subject.inputs.names, subject.inputs.tensors, strict=True)
    is_small = any(tensor.shape[axis] < 2 for name, tensor in tensors for axis in subject.axes.get(name, ()))
    if not is_small:
        return subject
    return Subject(
        subject.name, subject.exported, subject.module, resized(subject.inputs, subject.axes, 2), subject.axes
    )


def _dynamic_shapes(subject: Subject) -> Any:
    symbols = {symbol for axes in subject.axes.values() for symbol in axes.values()}
    dims = {symbol: torch.export.Dim(symbol) for symbol in symbols}
    shapes = {name: {axis: dims[symbol] for axis, symbol in axes.items()} for name, axes in subject.axes.items()}
    args, kwargs = subject.inputs.by_tensor(shapes)
    if not kwargs:
        return args
    import inspect

    positional = list(inspect.signature(subject.exported.forward).parameters)[: len(args)]
    return {**dict(zip(positional, args, strict=True)), **kwargs}


def _is_large(subject: Subject) -> bool:
    """Whether the weights may exceed what a protobuf holds."""
    module = subject.module
    tensors = [*module.parameters(), *module.buffers()]
    return bool(sum(tensor.numel() * tensor.element_size() for tensor in tensors) > (1 << 30))


def _reason(error: Exception) -> str:
    """The first line that says why: the dynamo exporter wraps what it has caught in advice."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0][:300]}" if lines else type(cause).__name__
