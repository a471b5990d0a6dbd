"""Resize as a choice or a matrix along each axis."""

from __future__ import annotations

import itertools

import pytest

from onnxopt import ir
from tests.passes.checks import check_refusal, ops
from tests.rules.spelling_out.spelled import PASS, check, kept, model


def resize(attributes: str, wanted: str = "1,2,7,3", shape: str = "1,2,4,6", opset: int = 19) -> ir.Graph:
    rank = wanted.count(",") + 1
    constants = f"int64[{rank}] sizes = {{{wanted}}}"
    return model(
        f"(float[{shape}] x) => (float[{wanted}] y)", f"y = Resize <{attributes}> (x, , , sizes)", constants, opset
    )


KINDS = ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"]
NEAREST = [
    (kind, rounding)
    for kind, rounding in itertools.product(KINDS, ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
    if (kind, rounding)
    not in (("half_pixel", "round_prefer_ceil"), ("align_corners", "round_prefer_ceil"), ("asymmetric", "floor"))
]


@pytest.mark.parametrize(("kind", "rounding"), NEAREST)
def test_the_nearest_elements_are_gathered(kind: str, rounding: str) -> None:
    attributes = f'mode = "nearest", coordinate_transformation_mode = "{kind}", nearest_mode = "{rounding}"'
    graph = resize(attributes, "1,2,9,3", "1,2,4,6")
    check(graph)
    assert ops(graph) == ["Gather", "Gather"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", ["", ", cubic_coeff_a = -0.5", ", exclude_outside = 1", ", antialias = 1"])
def test_cubic(kind: str, more: str) -> None:
    graph = resize(f'mode = "cubic", coordinate_transformation_mode = "{kind}"{more}')
    check(graph)
    assert "Resize" not in ops(graph) and "MatMul" in ops(graph)


def test_antialiased() -> None:
    check(resize('mode = "linear", antialias = 1', "1,2,2,3"), gone="Resize")


def test_other_axes_are_turned_to_the_end() -> None:
    graph = resize('mode = "linear", coordinate_transformation_mode = "half_pixel_symmetric"', "7,4,2", "5,4,6")
    check(graph)
    assert ops(graph) == ["Transpose", "MatMul", "Transpose", "MatMul"]


def test_scales_that_are_no_quotient_of_sizes() -> None:
    constants = "float[4] scales = {1, 1, 0.6, 0.6}"
    body = 'y = Resize <mode = "linear"> (x, , scales)'
    check(model("(float[1,1,2,4] x) => (float[1,1,1,2] y)", body, constants, opset=13), gone="Resize")


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_a_region_and_what_is_outside_of_it(mode: str) -> None:
    constants = "float[8] roi = {0, 0, 0.4, -0.2, 1, 1, 1.2, 0.7}, int64[4] sizes = {1, 1, 3, 5}"
    attributes = f'mode = "{mode}", coordinate_transformation_mode = "tf_crop_and_resize", extrapolation_value = 10.0'
    graph = model("(float[1,1,4,4] x) => (float[1,1,3,5] y)", f"y = Resize <{attributes}> (x, roi, , sizes)", constants)
    check(graph, gone="Resize")


@pytest.mark.parametrize(
    "attributes",
    [
        'mode = "linear"',
        'mode = "linear", coordinate_transformation_mode = "align_corners"',
        'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"',
        'mode = "nearest", nearest_mode = "round_prefer_ceil"',
        'mode = "nearest"',
    ],
)
def test_what_htp_gets_right_stays(attributes: str) -> None:
    kept(resize(attributes, "1,2,8,12"))


def _in_proportion(policy: str, sizes: str, wanted: str) -> ir.Graph:
    body = f'y = Resize <mode = "cubic", axes = [2, 3], keep_aspect_ratio_policy = "{policy}"> (x, , , sizes)'
    return model(f"(float[1,2,4,6] x) => (float[1,2,{wanted}] y)", body, f"int64[2] sizes = {{{sizes}}}", 19)


@pytest.mark.parametrize(("policy", "wanted"), [("not_larger", "8,12"), ("not_smaller", "12,18")])
def test_kept_ratios(policy: str, wanted: str) -> None:
    check(_in_proportion(policy, "8, 18", wanted), gone="Resize")


def test_kept_ratios_that_are_rounded_are_refused() -> None:
    check_refusal(
        PASS, _in_proportion("not_larger", "5, 18", "5,8"), "keeping the aspect ratio makes 7.5 of 6 elements"
    )


def test_open_sizes_are_refused() -> None:
    body = 'y = Resize <mode = "cubic"> (x, , scales)'
    graph = model("(float[1,1,n,4] x) => (float[1,1,m,8] y)", body, "float[4] scales = {1, 1, 2, 2}")
    check_refusal(PASS, graph, "axis 2 of 'x' has no fixed size: freeze-shapes may help")
