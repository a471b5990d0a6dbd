"""The specification of a package: types of its inputs and outputs, labels, and what its author says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import coremltools as ct
from coremltools.proto import FeatureTypes_pb2

from onnxopt.backends.coreml.interface import Dim, Interface, Sizes

_LAYOUTS = {
    "RGB": ct.colorlayout.RGB,
    "BGR": ct.colorlayout.BGR,
    "GRAY": ct.colorlayout.GRAYSCALE,
}
_CLASS = "classLabel"
"""The output that has the label: Core ML's own default."""
_DATE = "com.github.apple.coremltools.conversion_date"
"""Makes of the same model another package every day."""


def input_types(inputs: Mapping[str, tuple[Any, ...]], interface: Interface, named: Mapping[str, str]) -> list[Any]:
    """What coremltools is told of inputs that are images or flexible.

    Args:
        inputs: Shapes by MIL's names.
        interface: What is asked for, by ONNX's names.
        named: MIL's names by ONNX's, of those that differ.
    """
    found = []
    for name in dict.fromkeys([*interface.images, *interface.shapes]):
        mil = named.get(name, name)
        sizes = interface.shapes.get(name)
        shape = _shape(sizes) if sizes and sizes.is_flexible else tuple(inputs[mil])
        if name in interface.images:
            layout = _LAYOUTS[interface.images[name].color]
            if interface.float16 and layout == ct.colorlayout.GRAYSCALE:
                layout = ct.colorlayout.GRAYSCALE_FLOAT16
            found.append(ct.ImageType(name=mil, shape=shape, color_layout=layout, channel_first=True))
        elif sizes and sizes.is_flexible:
            found.append(ct.TensorType(name=mil, shape=shape))
    return found


def _shape(sizes: Sizes) -> Any:
    if len(sizes.shapes) > 1:
        return ct.EnumeratedShapes(shapes=[list(shape) for shape in sizes.shapes], default=list(sizes.shapes[0]))
    return ct.Shape([_range(dim) for dim in sizes.shapes[0]])


def _range(dim: Dim) -> Any:
    return ct.RangeDim(lower_bound=dim[0], upper_bound=dim[1], default=dim[0]) if isinstance(dim, tuple) else dim


def classifier(interface: Interface, output: str) -> Any:
    """The labels, for coremltools; None where there are none."""
    if not interface.labels:
        return None
    return ct.ClassifierConfig(
        class_labels=list(interface.labels), predicted_feature_name=_CLASS, predicted_probabilities_output=output
    )


def describe(spec: Any, interface: Interface, named: Mapping[str, str], metadata: Mapping[str, str]) -> None:
    """Write into the specification what coremltools does not: images that come out, and all that people read.

    Args:
        spec: Edited in place.
        interface: What is asked for.
        named: MIL's names by ONNX's, of those that differ.
        metadata: The model's own, kept beside what coremltools notes of itself.
    """
    about = spec.description
    about.metadata.author = interface.author
    about.metadata.license = interface.license
    about.metadata.versionString = interface.version
    about.metadata.shortDescription = interface.description
    about.metadata.userDefined.update(metadata)
    about.metadata.userDefined.pop(_DATE, None)
    features = {feature.name: feature for feature in (*about.input, *about.output)}
    for name, text in interface.features.items():
        features[named.get(name, name)].shortDescription = text
    for name, picture in interface.image_outputs.items():
        _make_image(features[named.get(name, name)], picture.color, interface.float16)


def _make_image(feature: Any, color: str, float16: bool) -> None:
    """Of shape [1, channels, height, width]: coremltools' converter has image outputs for other frontends only."""
    shape = list(feature.type.multiArrayType.shape)
    image = FeatureTypes_pb2.ImageFeatureType
    space = {"RGB": image.RGB, "BGR": image.BGR, "GRAY": image.GRAYSCALE_FLOAT16 if float16 else image.GRAYSCALE}
    feature.type.imageType.colorSpace = space[color]
    if shape:
        feature.type.imageType.height, feature.type.imageType.width = shape[-2], shape[-1]
        return
    feature.type.imageType.height = feature.type.imageType.width = 1
    for sizes in (feature.type.imageType.imageSizeRange.heightRange, feature.type.imageType.imageSizeRange.widthRange):
        sizes.lowerBound, sizes.upperBound = 1, -1
