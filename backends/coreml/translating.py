"""Inputs and outputs between ONNX and a package: names, element types, scalars, images, and the classes of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxopt.data import Feeds, ValueSpec
from onnxopt.errors import BadModel

Scaling = tuple[tuple[float, ...], tuple[float, ...]]
"""Scale and bias of an image: one number each, or one for each channel."""


@dataclass(frozen=True)
class Translation:
    """How a package says what an ONNX model says."""

    names: Mapping[str, str] = field(default_factory=dict)
    """The package's names by ONNX's, of inputs and outputs that it calls otherwise."""
    images: Mapping[str, Scaling] = field(default_factory=dict)
    """Of inputs that are images: the package makes of their numbers what the ONNX model takes."""
    image_outputs: Mapping[str, Scaling] = field(default_factory=dict)
    """Of outputs that are images: what the package makes of what the ONNX model gives."""

    @classmethod
    def of_sidecar(cls, facts: Mapping[str, Any]) -> Translation:
        """As a sidecar tells it.

        Raises:
            BadModel: It is the sidecar of something else.
        """
        try:
            interface = facts.get("interface", {})
            return cls(
                {str(name): str(called) for name, called in facts.get("names", {}).items()},
                *({name: _scaling(each) for name, each in interface.get(key, {}).items()} for key in _IMAGES),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadModel(f"the sidecar is none of a Core ML package: {type(error).__name__}: {error}") from error

    def name(self, name: str) -> str:
        """The package's name."""
        return self.names.get(name, name)

    def to_package(self, feeds: Mapping[str, Any], takes: Mapping[str, int]) -> dict[str, npt.NDArray[Any]]:
        """What a package takes of feeds of the ONNX model.

        Args:
            feeds: By ONNX names.
            takes: The package's inputs and their ranks; feeds that it does not take are left out.
        """
        found = {}
        for name, value in feeds.items():
            called = self.name(name)
            if called not in takes:
                continue
            array = np.asarray(value)
            if name in self.images:
                scale, bias = _along_channels(self.images[name])
                array = (array - bias) / scale
            if array.dtype == np.bool_:
                array = array.astype(np.int32)
            found[called] = array.reshape(1) if not array.ndim and takes[called] == 1 else array
        return found

    def from_package(self, outputs: Mapping[str, Any], specs: Iterable[ValueSpec]) -> Feeds:
        """What the ONNX model would give, in its names and element types, of what a package gives.

        Args:
            outputs: By the package's names.
            specs: The outputs of the ONNX model; those that the package has not are left out.
        """
        found: Feeds = {}
        classes = next((list(value.values()) for value in outputs.values() if isinstance(value, dict)), None)
        for spec in specs:
            if classes is None and self.name(spec.name) not in outputs:
                continue
            value = np.asarray(classes if classes is not None else outputs[self.name(spec.name)])
            if spec.name in self.image_outputs:
                scale, bias = _along_channels(self.image_outputs[spec.name])
                value = (value - bias) / scale
            sizes = [dim for dim in spec.shape or () if isinstance(dim, int)]
            if classes is not None and len(sizes) == len(spec.shape or ()):
                value = value.reshape(sizes)
            elif spec.shape == () and value.size == 1:
                value = value.reshape(())
            found[spec.name] = value if spec.dtype is None else _as(value, spec.dtype)
        return found


def _as(value: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """In another element type; integers that do not fit stay what they are, so that somebody notices."""
    with np.errstate(all="ignore"):
        converted = value.astype(dtype)
    return value if value.dtype.kind in "iu" and not np.array_equal(converted, value) else converted


_IMAGES = ("images", "image_outputs")


def _scaling(facts: Mapping[str, Any]) -> Scaling:
    scale, bias = ([float(number) for number in facts[key]] for key in ("scale", "bias"))
    return tuple(scale), tuple(bias)


def _along_channels(scaling: Scaling) -> tuple[npt.NDArray[np.float32], ...]:
    return tuple(np.asarray(numbers, np.float32).reshape(-1, 1, 1) for numbers in scaling)
