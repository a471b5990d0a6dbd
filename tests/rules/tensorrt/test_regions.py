"""What is read from an image at places that are computed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.checks import run_pass
from tests.rules.tensorrt.legalized import PASS, check, model

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("ratio", [1, 2, 3])
@pytest.mark.parametrize("mode", ["half_pixel", "output_half_pixel"])
def test_regions_within_and_beyond_the_image(ratio: int, mode: str) -> None:
    boxes = np.array([[1, 2, 9, 7], [-6, -8, 30, 5], [3, 3, 3.25, 3.5], [20, 20, 25, 30], [0, 0, 12, 10]], "f4")
    attributes = f"output_height = 3, output_width = 2, sampling_ratio = {ratio}, spatial_scale = 0.5"
    graph = model(
        "(float[2,3,5,6] x, float[5,4] b, int64[5] i) => (float[5,3,3,2] y)",
        f'y = RoiAlign <{attributes}, coordinate_transformation_mode = "{mode}"> (x, b, i)',
    )
    x = RNG.normal(size=(2, 3, 5, 6)).astype("f4")
    check(graph, {"x": x, "b": boxes, "i": np.array([0, 1, 1, 0, 1])}, gone="RoiAlign")


@pytest.mark.parametrize("attributes", ['mode = "max", sampling_ratio = 2', "sampling_ratio = 0"])
def test_other_regions_are_refused(attributes: str) -> None:
    graph = model("(float[2,3,5,6] x, float[5,4] b, int64[5] i) => (y)", f"y = RoiAlign <{attributes}> (x, b, i)")
    changed, ctx = run_pass(PASS, graph)
    assert not changed and "averages of a fixed number are spelled out" in ctx.refusals[0].what


@pytest.mark.parametrize("inputs", ["", ", b", ", b, m"])
@pytest.mark.parametrize(
    ("parts", "groups", "attributes", "size"),
    [
        (1, 1, "", (3, 4)),
        (2, 1, "pads = [1,0,2,1]", (6, 5)),
        (1, 2, "strides = [2,1], dilations = [1,2]", (2, 2)),
    ],
)
def test_deformed_windows(inputs: str, parts: int, groups: int, attributes: str, size: tuple[int, int]) -> None:
    rows, columns = size
    shapes = {
        "x": (2, 4, 5, 6),
        "w": (6, 4 // groups, 3, 3),
        "o": (2, parts * 18, rows, columns),
        "b": (6,),
        "m": (2, parts * 9, rows, columns),
    }
    declared = ", ".join(f"float[{','.join(map(str, shape))}] {name}" for name, shape in shapes.items())
    given = f"group = {groups}, offset_group = {parts}, kernel_shape = [3,3]{', ' * bool(attributes)}{attributes}"
    graph = model(
        f"({declared}) => (float[2,6,{rows},{columns}] y)", f"y = DeformConv <{given}> (x, w, o{inputs})", opset=19
    )
    feeds = {name: RNG.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    check(graph, feeds, gone="DeformConv")
