"""What a package says of itself; runs in the child process, for it needs coremltools to read the specification."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

from onnxopt.errors import BadModel

_ROOT = "com.apple.CoreML"


def inspect_package(path: Path) -> dict[str, Any]:
    """Operations, bytes, encodings, inputs and outputs, metadata: facts that JSON takes.

    Raises:
        BadModel: It is no ML Program package, or is damaged.
    """
    logging.disable(logging.WARNING)
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    from onnxopt.backends.coreml.folder import digest
    from onnxopt.backends.coreml.package import operations

    file = specification(path)
    try:
        spec = Model_pb2.Model.FromString(file.read_bytes())
    except (DecodeError, OSError) as error:
        raise BadModel(f"{path} is no package: {file.name} cannot be read: {error}") from error
    if spec.WhichOneof("Type") != "mlProgram":
        raise BadModel(f"{path} holds {spec.WhichOneof('Type') or 'nothing'}, no ML Program")
    counted = operations(spec)
    weights = [each for each in file.parent.rglob("*") if each.is_file() and each != file]
    about = spec.description.metadata
    return {
        "kind": "ML Program package",
        "bytes": sum(each.stat().st_size for each in path.rglob("*") if each.is_file()),
        "program bytes": file.stat().st_size,
        "weight bytes": sum(each.stat().st_size for each in weights),
        "hash": digest(path),
        "specification version": spec.specificationVersion,
        "targets": sorted({name for each in spec.mlProgram.functions.values() for name in each.block_specializations}),
        "inputs": [_feature(each) for each in spec.description.input],
        "outputs": [_feature(each) for each in spec.description.output],
        "operations": {name: count for name, count in counted.items() if not _is_encoding(name) and name != "const"},
        "encodings": {name: count for name, count in counted.items() if _is_encoding(name)},
        "weights": _weights(spec),
        "metadata": _metadata(about),
    }


def specification(path: Path) -> Path:
    """The file that has the program, which the manifest names.

    Raises:
        BadModel: There is no manifest, it is damaged, or it names a file outside or one that is not there.
    """
    try:
        manifest = json.loads((path / "Manifest.json").read_text(encoding="utf-8"))
        entry = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]
        relative = str(entry["path"])
    except OSError as error:
        raise BadModel(f"{path} is no package: Manifest.json cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadModel(f"{path} is no package: its manifest is damaged") from error
    found = path / "Data" / relative
    if not found.resolve().is_relative_to(path.resolve()):
        raise BadModel(f"{path}: its manifest names a file outside of it")
    if not found.is_file():
        raise BadModel(f"{path} is no package: it has no {relative}")
    return found


def _is_encoding(name: str) -> bool:
    return name.startswith("constexpr_")


def _feature(feature: Any) -> dict[str, Any]:
    found = {"name": feature.name, **_type(feature.type)}
    return found | {"description": feature.shortDescription} if feature.shortDescription else found


def _type(kind: Any) -> dict[str, Any]:
    which = kind.WhichOneof("Type")
    if which == "multiArrayType":
        array = kind.multiArrayType
        dtype = type(array).ArrayDataType.Name(array.dataType).lower()
        return {"type": dtype, "shape": list(array.shape), **_flexible(array)}
    if which == "imageType":
        image = kind.imageType
        color = type(image).ColorSpace.Name(image.colorSpace)
        return {"type": f"image {color}", "shape": [image.height, image.width], **_flexible(image)}
    return {"type": which.removesuffix("Type") if which else "unknown"}


def _flexible(kind: Any) -> dict[str, Any]:
    which = kind.WhichOneof("ShapeFlexibility" if hasattr(kind, "shapeRange") else "SizeFlexibility")
    if which == "enumeratedShapes":
        return {"shapes": [list(shape.shape) for shape in kind.enumeratedShapes.shapes]}
    if which == "enumeratedSizes":
        return {"shapes": [[size.height, size.width] for size in kind.enumeratedSizes.sizes]}
    if which == "shapeRange":
        return {"ranges": [[size.lowerBound, size.upperBound] for size in kind.shapeRange.sizeRanges]}
    if which == "imageSizeRange":
        sizes = kind.imageSizeRange
        return {"ranges": [[each.lowerBound, each.upperBound] for each in (sizes.heightRange, sizes.widthRange)]}
    return {}


def _weights(spec: Any) -> dict[str, int]:
    """How many numbers of each element type lie in the weight file."""
    from coremltools.proto import MIL_pb2

    counted: Counter[str] = Counter()
    for function in spec.mlProgram.functions.values():
        blocks = list(function.block_specializations.values())
        while blocks:
            block = blocks.pop()
            for operation in block.operations:
                blocks += operation.blocks
                values = [*operation.attributes.values(), *_bound(operation)]
                for value in (each for each in values if each.WhichOneof("value") == "blobFileValue"):
                    kind = value.type.tensorType
                    sizes = [dimension.constant.size for dimension in kind.dimensions]
                    count = 1
                    for size in sizes:
                        count *= size
                    counted[MIL_pb2.DataType.Name(kind.dataType).lower()] += count
    return dict(counted.most_common())


def _bound(operation: Any) -> list[Any]:
    bindings = [binding for argument in operation.inputs.values() for binding in argument.arguments]
    return [binding.value for binding in bindings if binding.WhichOneof("binding") == "value"]


def _metadata(about: Any) -> dict[str, Any]:
    named = {
        "author": about.author,
        "license": about.license,
        "version": about.versionString,
        "description": about.shortDescription,
    }
    return {key: value for key, value in (named | dict(about.userDefined)).items() if value}
