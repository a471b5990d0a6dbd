"""What a package looks like from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from onnxopt import ir
from onnxopt.backends.coreml import Coreml
from onnxopt.backends.coreml.interface import Picture, Sizes, read_labels
from onnxopt.backends.coreml.interface.fitting import problems, require_fits
from onnxopt.errors import BadOption
from onnxopt.pipeline.options import OptionError, build, format_options

pytest.importorskip("coremltools", reason="packages are written by coremltools")

from tests.backends.coreml.packages import Package, model, run

RANDOM = np.random.default_rng(8)
RELU = [helper.make_node("Relu", ["photo"], ["out"])]
PHOTO = model(RELU, {"photo": [1, 3, 8, 6]}, {"out": [1, 3, 8, 6]})
GRAY = model(RELU, {"photo": [1, 1, 8, 6]}, {"out": [1, 1, 8, 6]})
DYNAMIC = model(RELU, {"photo": ["batch", 3, "h", "w"]}, {"out": ["batch", 3, "h", "w"]})
CLASSES = model([helper.make_node("Softmax", ["x"], ["p"])], {"x": [1, 3]}, {"p": [1, 3]})


def package(given: Any, folder: Path, target: str = "iOS17", precision: str = "float32", **interface: Any) -> Package:
    return Package(given, folder / "p.mlpackage", target, precision, **interface)


def image(feature: Any) -> tuple[str, int, int]:
    kind = feature.type.imageType
    return type(kind).ColorSpace.Name(kind.colorSpace), kind.height, kind.width


@pytest.mark.parametrize("color", ["RGB", "BGR"])
def test_an_image_comes_in_scaled_for_each_channel(color: str, tmp_path: Path) -> None:
    picture = Picture(color, (0.017, 0.018, 0.019), (-2.1, -2.0, -1.8))
    written = package(PHOTO, tmp_path, images={"photo": picture})
    assert image(written.spec.description.input[0]) == (color, 8, 6)
    pixels = RANDOM.integers(0, 256, (1, 3, 8, 6)).astype(np.float32)
    scale, bias = (np.array(each, np.float32).reshape(1, 3, 1, 1) for each in (picture.scale, picture.bias))
    (expected,) = run(PHOTO, {"photo": pixels * scale + bias})
    np.testing.assert_allclose(written.run({"photo": pixels})["out"], expected, rtol=1e-6)


@pytest.mark.parametrize(("float16", "color"), [(False, "GRAYSCALE"), (True, "GRAYSCALE_FLOAT16")])
def test_gray_images(float16: bool, color: str, tmp_path: Path) -> None:
    gray = Picture("GRAY", (1 / 255,))
    written = package(GRAY, tmp_path, images={"photo": gray}, image_outputs={"out": Picture("GRAY")}, float16=float16)
    assert image(written.spec.description.input[0]) == (color, 8, 6)
    assert image(written.spec.description.output[0]) == (color, 8, 6)


def test_an_image_goes_out(tmp_path: Path) -> None:
    written = package(PHOTO, tmp_path, image_outputs={"out": Picture("RGB", (255.0,), (0.5,))})
    assert image(written.spec.description.output[0]) == ("RGB", 8, 6)
    photo = RANDOM.random((1, 3, 8, 6)).astype(np.float32)
    np.testing.assert_allclose(written.run({"photo": photo})["out"], photo * 255 + 0.5, rtol=1e-6)


def test_an_image_of_flexible_size(tmp_path: Path) -> None:
    sizes = Sizes.parse("photo", "1x3x8..32x6..64")
    written = package(
        DYNAMIC,
        tmp_path,
        shapes={"photo": sizes},
        images={"photo": Picture("RGB")},
        image_outputs={"out": Picture("RGB")},
    )
    sizes_in = written.spec.description.input[0].type.imageType.imageSizeRange
    assert (sizes_in.heightRange.lowerBound, sizes_in.heightRange.upperBound) == (8, 32)
    assert written.spec.description.output[0].type.imageType.imageSizeRange.widthRange.upperBound == -1


def test_ranges(tmp_path: Path) -> None:
    written = package(DYNAMIC, tmp_path, shapes={"photo": Sizes.parse("photo", "1..8x3x16x24")})
    array = written.spec.description.input[0].type.multiArrayType
    assert list(array.shape) == [1, 3, 16, 24]
    bounds = [(each.lowerBound, each.upperBound) for each in array.shapeRange.sizeRanges]
    assert bounds == [(1, 8), (3, 3), (16, 16), (24, 24)]


def test_several_shapes(tmp_path: Path) -> None:
    written = package(DYNAMIC, tmp_path, shapes={"photo": Sizes.parse("photo", "1x3x16x24|1x3x8x8")})
    array = written.spec.description.input[0].type.multiArrayType
    assert list(array.shape) == [1, 3, 16, 24]
    assert sorted(list(shape.shape) for shape in array.enumeratedShapes.shapes) == [[1, 3, 8, 8], [1, 3, 16, 24]]


def test_one_shape_for_a_dynamic_model_is_fixed(tmp_path: Path) -> None:
    written = package(DYNAMIC, tmp_path, shapes={"photo": Sizes.parse("photo", "2x3x4x4")})
    array = written.spec.description.input[0].type.multiArrayType
    assert list(array.shape) == [2, 3, 4, 4]
    assert not array.WhichOneof("ShapeFlexibility")


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_float16_in_and_out(precision: str, tmp_path: Path) -> None:
    written = package(PHOTO, tmp_path, precision=precision, float16=True)
    for feature in (*written.spec.description.input, *written.spec.description.output):
        kind = feature.type.multiArrayType
        assert type(kind).ArrayDataType.Name(kind.dataType) == "FLOAT16"
    assert ("cast" in written.operations) == (precision == "float32")
    assert "input 'photo' is of fp16, not float32" in written.lowered.notes


def test_a_classifier_has_labels(tmp_path: Path) -> None:
    written = package(CLASSES, tmp_path, labels=("cat", "dog", "owl"))
    outputs = [feature.name for feature in written.spec.description.output]
    assert written.spec.description.predictedFeatureName == "classLabel"
    assert written.spec.description.predictedProbabilitiesName in outputs
    assert "classify" in written.operations


def test_what_people_read_is_the_users(tmp_path: Path) -> None:
    written = package(
        PHOTO,
        tmp_path,
        author="A. Uthor",
        license="MIT",
        version="1.2",
        description="Sharpens",
        features={"photo": "what to sharpen", "out": "sharp"},
    )
    about = written.spec.description
    assert (about.metadata.author, about.metadata.license) == ("A. Uthor", "MIT")
    assert (about.metadata.versionString, about.metadata.shortDescription) == ("1.2", "Sharpens")
    assert [each.shortDescription for each in (*about.input, *about.output)] == ["what to sharpen", "sharp"]
    assert all(key.startswith("com.github.apple.coremltools.") for key in about.metadata.userDefined)


def test_nothing_is_said_that_nobody_said(tmp_path: Path) -> None:
    about = package(PHOTO, tmp_path).spec.description.metadata
    assert (about.author, about.license, about.versionString, about.shortDescription) == ("", "", "", "")


def test_names_that_mil_has_not_are_mapped_and_told(tmp_path: Path) -> None:
    given = model([helper.make_node("Relu", ["a/b:0"], ["1.c"])], {"a/b:0": [2]}, {"1.c": [2]})
    written = package(given, tmp_path, features={"a/b:0": "slashed"})
    assert written.lowered.names == {"a/b:0": "a_b_0", "1.c": "_1_c"}
    assert "input 'a/b:0' is called 'a_b_0'" in written.lowered.notes
    assert written.spec.description.input[0].shortDescription == "slashed"


# options


def test_options_are_written_as_they_are_read() -> None:
    texts = {
        "image": "photo",
        "scale": "0.1,0.2,0.3",
        "bias": "-1",
        "shapes": "photo:1x3x8x8|1x3x16x16",
        "describe": 'photo:"a photo, of you"',
        "compute-units": "cpu-only",
    }
    built = build(Coreml, texts)
    assert built.scale == (0.1, 0.2, 0.3)
    assert built.interface().shapes["photo"].shapes == ((1, 3, 8, 8), (1, 3, 16, 16))
    assert built.describe == {"photo": "a photo, of you"}
    assert "scale=0.1,0.2,0.3" in format_options(built)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"color": "BGR"}, "color is for images"),
        ({"scale": "2"}, "scale and bias are for images"),
        ({"output-bias": "2"}, "output-scale and output-bias are for images"),
        ({"target": "iOS15", "io": "float16"}, "io=float16 needs target=iOS16"),
        ({"timeout": "0"}, "timeout is more than 0"),
    ],
)
def test_options_that_do_not_go_together(texts: dict[str, str], reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        build(Coreml, texts)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1x3x", "'' is no size"),
        ("0x3", "'0' is no size"),
        ("8..1x3", "ends before it begins"),
        ("1..2x3|1x4", "both ranges"),
        ("1x3|1x3x4", "several ranks"),
    ],
)
def test_shapes_that_cannot_be_read(text: str, reason: str) -> None:
    with pytest.raises(BadOption, match=reason):
        Sizes.parse("x", text)


RGB = Picture("RGB")
UNFIT = [
    (PHOTO, {"images": {"foto": RGB}}, "the model has no input 'foto'.*did you mean"),
    (PHOTO, {"image_outputs": {"photo": RGB}}, "the model has no output 'photo'"),
    (PHOTO, {"features": {"x": "y"}}, "no input or output 'x'"),
    (GRAY, {"images": {"photo": RGB}}, "an image of color=RGB is .1, 3, height, width."),
    (PHOTO, {"images": {"photo": Picture("GRAY")}}, "an image of color=GRAY is .1, 1,"),
    (PHOTO, {"images": {"photo": Picture("RGB", (1.0, 2.0))}}, "scale has 2 numbers"),
    (PHOTO, {"images": {"photo": Picture("RGB", bias=(1.0, 2.0))}}, "bias has 2 numbers"),
    (PHOTO, {"shapes": {"photo": Sizes.parse("photo", "1..2x3x8x6")}}, "axis 0 of photo is 1 in the model.*dynamic"),
    (PHOTO, {"shapes": {"photo": Sizes.parse("photo", "1x3x8x8")}}, "axis 3 of photo is 6 in the model, not 8"),
    (PHOTO, {"shapes": {"photo": Sizes.parse("photo", "1x3")}}, "of rank 4 in the model, not 2"),
    (
        DYNAMIC,
        {"images": {"photo": RGB}, "shapes": {"photo": Sizes.parse("photo", "1..4x3x8x8")}},
        "only its height and width may vary",
    ),
    (CLASSES, {"labels": ("a", "b")}, "there are 2, and the output 'p'"),
    (CLASSES, {"images": {"x": RGB}}, "is of shape .1, 3."),
]


@pytest.mark.parametrize(("given", "interface", "reason"), UNFIT)
def test_what_does_not_fit_the_model(given: Any, interface: dict[str, Any], reason: str) -> None:
    from onnxopt.backends.coreml.interface import Interface

    with pytest.raises(BadOption, match=reason):
        require_fits(ir.from_proto(given), Interface(**interface))


def test_labels_need_one_output() -> None:
    from onnxopt.backends.coreml.interface import Interface

    two = model([*RELU, helper.make_node("Relu", ["out"], ["o2"])], {"photo": [3]}, {"out": [3], "o2": [3]})
    with pytest.raises(BadOption, match=r"2 outputs \(out, o2\); a classifier has one"):
        require_fits(ir.from_proto(two), Interface(labels=("a", "b", "c")))


def test_dynamic_dimensions_need_sizes() -> None:
    from onnxopt.backends.coreml.interface import Interface

    found = problems(ir.from_proto(DYNAMIC), Interface())
    assert [each.node for each in found] == ["input 'photo'"] * 3
    assert "its dimension 'batch' (axis 0) is dynamic" in found[0].reason
    assert "freeze-shapes{dims=batch:1}" in found[0].reason
    assert "shapes=photo:1..8x3x1..8x1..8" in found[0].reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "has none"), ("a\n\nb\n", "line 2 of .* is empty"), ("a\nb\na\n", "'a' twice, the second time in line 3")],
)
def test_labels_that_cannot_be_used(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text(text)
    with pytest.raises(BadOption, match=reason):
        read_labels(str(file))


def test_labels_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match=r"cannot read .*No such file"):
        read_labels(str(tmp_path / "labels.txt"))
