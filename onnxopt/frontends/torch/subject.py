"""What is exported: a module or a program, its inputs, and how it is called to compare."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from onnxopt.errors import BadModel, BadOption
from onnxopt.frontends.kinds import Kind
from onnxopt.frontends.torch.inputs import Axes, Inputs, examples, inputs_of
from onnxopt.frontends.torch.safe_archive import require_no_code, safe_loading
from onnxopt.frontends.wanted import Wanted


@dataclass(frozen=True)
class Subject:
    """A model of torch."""

    name: str
    """As messages call it."""
    exported: Any
    """An nn.Module, a ScriptModule or an ExportedProgram: what the exporters take."""
    module: Any
    """What is called: gives outputs."""
    inputs: Inputs
    axes: Axes = field(default_factory=dict)

    @property
    def is_program(self) -> bool:
        """Whether it was captured already, dynamic axes and all."""
        return isinstance(self.exported, torch.export.ExportedProgram)

    def outputs(self, inputs: Inputs) -> Any:
        """What it gives."""
        with torch.no_grad():
            return self.module(*inputs.args, **inputs.kwargs)


def read(path: Path, kind: Kind, wanted: Wanted) -> Subject:
    """The model in a file.

    Raises:
        BadModel: It cannot be read, or holds no model.
        BadOption: It needs options that are not given, or has no use for those that are.
    """
    if kind is Kind.PROGRAM:
        return _program(path, wanted)
    try:
        loaded = (
            torch.jit.load(path, "cpu") if kind is Kind.TORCHSCRIPT else torch.load(path, "cpu", weights_only=False)
        )
    except Exception as error:  # whatever its pickle raises
        raise BadModel(f"{path}: torch {torch.__version__} cannot read it: {_first_line(error)}") from error
    if isinstance(loaded, Mapping):
        raise BadModel(
            f"{path} holds weights and no model: write a function that builds the model and loads them, and give "
            "module:function"
        )
    if not wanted.examples:
        raise BadOption(
            f'{path} does not tell what it takes: lower it by itself, with --input "NAME=float32[1,3,224,224]" for '
            "each of its inputs"
        )
    return of(loaded, examples(wanted.examples), wanted, str(path), tuple(one.name for one in wanted.examples))


def of(model: Any, given: Any, wanted: Wanted, name: str, names: tuple[str, ...] = ()) -> Subject:
    """A module or a program and its example inputs.

    Raises:
        BadModel: It is neither, is not in eval mode, or there are no inputs.
    """
    if isinstance(model, torch.export.ExportedProgram):
        return _captured(model, wanted, name)
    if not isinstance(model, torch.nn.Module):
        raise BadModel(f"{name} is {type(model).__name__}, and no nn.Module")
    if model.training:
        raise BadModel(f"{name} is in training mode, in which outputs are random or change it: call its .eval()")
    if given is None:
        raise BadModel(f"{name} gives a module alone: return it with its example inputs, as `return module, inputs`")
    inputs = inputs_of(given, model.forward, wanted.input_names or names, name)
    if unknown := sorted(set(wanted.dynamic) - set(inputs.names)):
        raise BadOption(f"--dynamic {unknown[0]}: there is no such input; there are: {', '.join(inputs.names)}")
    for one, tensor in zip(inputs.names, inputs.tensors, strict=True):
        if wrong := [axis for axis in wanted.dynamic.get(one, ()) if axis >= tensor.ndim]:
            raise BadOption(f"--dynamic {one}: it has {tensor.ndim} axes, and none of number {wrong[0]}")
    return Subject(name, model, model, inputs, wanted.dynamic)


def _program(path: Path, wanted: Wanted) -> Subject:
    if not wanted.trust_pickle:
        require_no_code(path)
    try:
        with nullcontext() if wanted.trust_pickle else safe_loading():
            program = torch.export.load(path)
    except Exception as error:  # its schema changes with the versions of torch
        raise BadModel(f"{path}: torch {torch.__version__} cannot read it: {_first_line(error)}") from error
    return _captured(program, wanted, str(path))


def _captured(program: torch.export.ExportedProgram, wanted: Wanted, name: str) -> Subject:
    if wanted.dynamic or wanted.examples:
        flag = "dynamic" if wanted.dynamic else "input"
        raise BadOption(f"--{flag} does nothing for {name}: an exported program has its inputs and dynamic axes")
    if program.example_inputs is None:
        raise BadModel(f"{name} has no example inputs: save the program with those that it was exported on")
    args, kwargs = program.example_inputs
    module = program.module()
    module.training = False
    module.train = lambda mode=True: module  # TorchScript's exporter asks for a mode, which a program does not have
    signature = program.graph_signature
    names = wanted.input_names or tuple(str(one) for one in signature.user_inputs)
    inputs = Inputs(tuple(args), dict(kwargs), names)
    if len(inputs.tensors) != len(names):
        raise BadOption(f"--input-names has {len(names)} names, and {name} takes {len(inputs.tensors)} tensors")
    shapes = {
        node.name: node.meta["val"].shape
        for node in program.graph.nodes
        if node.op == "placeholder" and isinstance(node.meta.get("val"), torch.Tensor)
    }
    axes = {
        name: {axis: str(dim) for axis, dim in enumerate(shapes.get(str(own), ())) if isinstance(dim, torch.SymInt)}
        for name, own in zip(names, signature.user_inputs, strict=True)
    }
    return Subject(name, program, module, inputs, {name: dims for name, dims in axes.items() if dims})


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
