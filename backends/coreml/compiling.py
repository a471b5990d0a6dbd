"""What runs in the child process: coremltools prints, is slow to import, and changes settings of the interpreter."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from onnxopt import ir
from onnxopt.backends.coreml.interface import Interface
from onnxopt.backends.coreml.spelling import spell
from onnxopt.pipeline.backend import Problem


@dataclass(frozen=True)
class Asked:
    """What a package shall be."""

    target: str
    """The deployment target: `iOS17`."""
    precision: str
    """`float32` or `float16`."""
    interface: Interface = field(default_factory=Interface)
    """Its inputs and outputs, as users of Core ML expect them."""


@dataclass
class Compiled:
    """What became of a model."""

    problems: list[Problem]
    names: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    spelled: dict[str, int] = field(default_factory=dict)
    """How many nodes were said by others before they were lowered, by operator and how."""
    operators: dict[str, int] = field(default_factory=dict)
    """MIL operations of the package by type, most frequent first."""
    versions: dict[str, str] = field(default_factory=dict)
    encodings: dict[str, int] = field(default_factory=dict)
    """How many constants are stored in which form; those of one axis and small ones are not counted."""


def compile_model(model: Path, asked: Asked, package: Path | None) -> Compiled:
    """Lower a model, and write the package unless there is none to write or something is refused.

    Args:
        model: An ONNX file.
        asked: What the package shall be.
        package: Where to write it; None to only say what is refused.

    Raises:
        OnnxoptError: The model cannot be read.
    """
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import coremltools

    from onnxopt.backends.coreml.lowering.program import lower

    graph = ir.load(model)
    spelled = spell(graph)
    if not asked.interface.description and graph.model and graph.model.doc_string:
        asked = replace(asked, interface=replace(asked.interface, description=graph.model.doc_string))
    lowered = lower(graph, getattr(coremltools.target, asked.target), asked.interface)
    found = Compiled(
        spelled.explained(lowered.problems),
        lowered.names,
        lowered.notes,
        spelled=spelled.done,
        versions={"coremltools": coremltools.__version__},
    )
    if lowered.program is None or package is None:
        return found
    from onnxopt.backends.coreml.package import write_package

    found.operators, storing = write_package(lowered, asked, package, _metadata(graph))
    found.encodings = dict(storing.kinds.most_common())
    found.notes += storing.notes()
    return found


def _metadata(graph: ir.Graph) -> dict[str, str]:
    """What the model says of itself, as text."""
    return {entry.key: entry.value for entry in graph.model.metadata_props} if graph.model else {}


def target_names() -> tuple[str, ...]:
    """The deployment targets that packages can be written for, oldest first."""
    return ("iOS15", "iOS16", "iOS17", "iOS18", "iOS26")


def version_of(asked: Asked) -> Any:
    """The target as coremltools has it."""
    import coremltools

    return getattr(coremltools.target, asked.target)
