"""Whether what is asked of a package's inputs and outputs fits the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from onnxopt import ir
from onnxopt.backends.coreml.interface import Interface, Picture, Sizes
from onnxopt.errors import BadOption
from onnxopt.pipeline.backend import Problem
from onnxopt.pipeline.suggest import did_you_mean

_FLOATS = (np.float32, np.float16)


def require_fits(graph: ir.Graph, interface: Interface) -> None:
    """Refuse options that do not fit the model.

    Raises:
        BadOption: A name is none of the model's; a shape, a color or a number of labels is not that of the model.
    """
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    outputs = {tensor.name: tensor for tensor in graph.outputs}
    _require_known("shapes", interface.shapes, inputs, "input")
    _require_known("image", interface.images, inputs, "input")
    _require_known("image-output", interface.image_outputs, outputs, "output")
    _require_known("describe", interface.features, inputs | outputs, "input or output")
    for name, sizes in interface.shapes.items():
        _require_sizes(inputs[name], sizes)
    for name, picture in interface.images.items():
        _require_picture("image", inputs[name], picture, interface.shapes.get(name))
    for name, picture in interface.image_outputs.items():
        _require_picture("image-output", outputs[name], picture, None)
    if interface.labels:
        _require_classes(graph, interface)


def problems(graph: ir.Graph, interface: Interface) -> list[Problem]:
    """Dimensions of inputs that nobody gave sizes to, which Core ML cannot have."""
    found = []
    for tensor in graph.inputs:
        if tensor.name in interface.shapes or tensor.shape is None:
            continue
        for axis, dim in enumerate(tensor.shape):
            if isinstance(dim, int) and dim >= 0:
                continue
            known = [f"'{dim}'" if isinstance(dim, str) else "unknown", f"(axis {axis})"]
            example = "x".join(str(each) if isinstance(each, int) and each > 0 else "1..8" for each in tensor.shape)
            freeze = f"freeze-shapes{{dims={dim}:1}}" if isinstance(dim, str) else "freeze-shapes"
            found.append(
                Problem(
                    f"input '{tensor.name}'",
                    f"its dimension {' '.join(known)} is dynamic, and Core ML needs to know its sizes: fix it by the "
                    f"pass {freeze}, or give a range by shapes={tensor.name}:{example}",
                )
            )
    return found


def _require_known(option: str, names: Iterable[str], known: Mapping[str, Any], what: str) -> None:
    for name in names:
        if name not in known:
            hint = did_you_mean(name, list(known), f"; it has {', '.join(known)}")
            raise BadOption(f"{option}: the model has no {what} '{name}'{hint}")


def _require_sizes(tensor: ir.Tensor, sizes: Sizes) -> None:
    shape = list(tensor.shape or [])
    for each in sizes.shapes:
        if len(each) != len(shape):
            raise BadOption(f"shapes: {tensor.name} is of rank {len(shape)} in the model, not {len(each)}")
    for axis, dim in enumerate(shape):
        if not isinstance(dim, int) or dim < 0:
            continue
        if sizes.varies(axis):
            raise BadOption(
                f"shapes: axis {axis} of {tensor.name} is {dim} in the model, and what follows was computed for that: "
                f"export the model with a dynamic dimension there"
            )
        if sizes.shapes[0][axis] != dim:
            raise BadOption(f"shapes: axis {axis} of {tensor.name} is {dim} in the model, not {sizes.shapes[0][axis]}")


def _require_picture(option: str, tensor: ir.Tensor, picture: Picture, sizes: Sizes | None) -> None:
    shape = list(tensor.shape or [])
    if tensor.dtype not in _FLOATS:
        raise BadOption(f"{option}: '{tensor.name}' is of {tensor.dtype}; images are of float32 or float16")
    if len(shape) != 4 or shape[1] != picture.channels or (isinstance(shape[0], int) and shape[0] > 1):
        wanted = f"[1, {picture.channels}, height, width]"
        raise BadOption(f"{option}: '{tensor.name}' is of shape {shape}; an image of color={picture.color} is {wanted}")
    if sizes is not None and any(sizes.varies(axis) for axis in (0, 1)):
        raise BadOption(f"shapes: '{tensor.name}' is an image; only its height and width may vary")
    for name, numbers in (("scale", picture.scale), ("bias", picture.bias)):
        if len(numbers) not in (1, picture.channels):
            raise BadOption(
                f"{option}: {name} has {len(numbers)} numbers; give 1, or one for each of {picture.channels} channels"
            )


def _require_classes(graph: ir.Graph, interface: Interface) -> None:
    if len(graph.outputs) != 1:
        names = ", ".join(tensor.name for tensor in graph.outputs)
        raise BadOption(f"labels: the model has {len(graph.outputs)} outputs ({names}); a classifier has one")
    if interface.image_outputs:
        raise BadOption("labels: the output is an image already (image-output)")
    tensor = graph.outputs[0]
    shape = [dim for dim in tensor.shape or [] if isinstance(dim, int)]
    if tensor.dtype not in _FLOATS or int(np.prod(shape)) != len(interface.labels):
        raise BadOption(
            f"labels: there are {len(interface.labels)}, and the output '{tensor.name}' is of {tensor.dtype} and of "
            f"shape {list(tensor.shape or [])}"
        )
