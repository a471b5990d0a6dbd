"""From a MIL program to the package on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coremltools as ct

from onnxopt.backends.coreml.encoders.storing import PASS, Storing
from onnxopt.backends.coreml.interface.features import classifier, describe, input_types

if TYPE_CHECKING:
    from onnxopt.backends.coreml.compiling import Asked
    from onnxopt.backends.coreml.lowering.program import Lowered

_CHANGING_WEIGHTS = ("common::fuse_conv_scale", "common::fuse_conv_batchnorm")
"""Passes of coremltools that would make floats again of weights that the graph has in integers."""
_INEXACT = ("common::add_int16_cast", "common::fuse_elementwise_to_batchnorm")
"""Passes of coremltools 9 that change numbers: the first makes 16 bits of the integers that Gather and others carry,
the second forgets epsilon, so that all numbers become smaller by 5e-6 of them."""


def write_package(
    lowered: Lowered, asked: Asked, path: Path, metadata: Mapping[str, str] | None = None
) -> tuple[dict[str, int], Storing]:
    """Write a program as an ML Program package, `path` a folder that is not there yet.

    Args:
        lowered: What `lower` made; it has a program.
        asked: What the package shall be.
        path: Where to.
        metadata: The model's own.

    Returns:
        The operations that it has, by type; how its constants are stored.
    """
    target = getattr(ct.target, asked.target)
    function = lowered.program.functions["main"]  # type: ignore[union-attr]
    storing = Storing(target, lowered.affines)
    inputs = {name: tuple(var.shape) for name, var in function.inputs.items()}
    model = ct.convert(
        lowered.program,
        source="milinternal",
        convert_to="mlprogram",
        minimum_deployment_target=target,
        compute_precision=ct.precision.FLOAT16 if asked.precision == "float16" else ct.precision.FLOAT32,
        skip_model_load=True,
        inputs=input_types(inputs, asked.interface, lowered.names) or None,
        classifier_config=classifier(asked.interface, function.outputs[0].name),
        pass_pipeline=_pipeline(storing),
    )
    spec = model.get_spec()
    describe(spec, asked.interface, lowered.names, metadata or {})
    ct.models.utils.save_spec(spec, str(path), weights_dir=model.weights_dir)
    return operations(spec), storing


def _pipeline(storing: Storing) -> Any:
    """coremltools' own passes, and ours behind them, when constants have the type that they are computed in."""
    pipeline = ct.PassPipeline()
    pipeline.remove_passes({*_INEXACT, *(_CHANGING_WEIGHTS if storing.affines else ())})
    pipeline.append_pass(PASS)
    pipeline.set_options(PASS, {"storing": storing})
    return pipeline


def operations(spec: Any) -> dict[str, int]:
    """The operations of a package by type, nested ones too, the most frequent first."""
    counted: Counter[str] = Counter()
    for function in spec.mlProgram.functions.values():
        blocks = list(function.block_specializations.values())
        while blocks:
            found = blocks.pop()
            counted.update(operation.type for operation in found.operations)
            blocks += [inner for operation in found.operations for inner in operation.blocks]
    return dict(counted.most_common())
