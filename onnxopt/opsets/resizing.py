"""Resize, and the Upsample that it replaced in opset 10; sampling of grids and regions."""

from __future__ import annotations

import numpy as np

from onnxopt.opsets.draft import Adapter, Draft

_MODES = {"bilinear": "linear", "bicubic": "cubic"}
_CROP = "tf_crop_and_resize"


def _scales_as_input(draft: Draft) -> None:
    draft.put(1, np.array(draft.take("scales"), np.float32))


def _upsample(draft: Draft) -> None:
    draft.op = "Resize"


def _coordinates(draft: Draft) -> None:
    """Opset 10: x / scale, as opset 11 calls it `asymmetric`, rounded down to the nearest sample when it grows.

    Upsample may only grow.
    """
    scales = draft.value(1)
    if draft.read("mode", "nearest") == "nearest":
        if draft.node.op != "Upsample" and (scales is None or (scales < 1).any()):
            draft.refuse("before opset 11 it is not said which sample is the nearest where it shrinks, or may")
        draft.attrs["nearest_mode"] = "floor"
    draft.attrs["coordinate_transformation_mode"] = "asymmetric"
    draft.put(2, draft.given(1))
    draft.put(1, np.array([], np.float32))


def _optional_inputs(draft: Draft) -> None:
    """Opset 13: what is not used is omitted, and no more empty; of scales and sizes only one is given."""
    mode = draft.read("coordinate_transformation_mode", "half_pixel")
    if mode == "tf_half_pixel_for_nn":
        draft.refuse("since opset 13 it has no mode 'tf_half_pixel_for_nn'")
    if mode != _CROP and _is_empty(draft, 1):
        draft.put(1, None)
    if draft.given(3) is not None and draft.given(2) is not None:
        if not _is_empty(draft, 2):
            draft.refuse("since opset 13 it takes scales or sizes, and both are given")
        draft.put(2, None)


def _is_empty(draft: Draft, index: int) -> bool:
    return 0 in (draft.shape(index) or ())


def _every_axis(draft: Draft) -> None:
    """Before opset 18 scales are for all axes; on those that were not named they are 1."""
    axes = draft.take("axes")
    if axes is None:
        return
    rank = draft.rank(0, "before opset 18 it resizes all axes")
    if [axis % rank for axis in axes] == list(range(rank)):
        return
    scales = draft.value(2)
    if scales is None or draft.given(1) is not None:
        draft.refuse("before opset 18 it resizes all axes, and it has sizes, a region or computed scales for some")
    every = np.ones(rank, np.float32)
    every[[axis % rank for axis in axes]] = scales
    draft.put(2, every)


def _symmetric(draft: Draft) -> None:
    if draft.read("coordinate_transformation_mode", "half_pixel") == "half_pixel_symmetric":
        draft.refuse("before opset 19 it has no mode 'half_pixel_symmetric'")


def _grid_sample_mode(draft: Draft) -> None:
    if "mode" in draft.attrs:
        mode = draft.take("mode")
        draft.attrs["mode"] = _MODES.get(mode, mode)


def _grid_sample_images(draft: Draft) -> None:
    if draft.rank(0, "before opset 20 it takes images only") != 4:
        draft.refuse("before opset 20 it takes images only")
    if "mode" in draft.attrs:
        mode = draft.take("mode")
        draft.attrs["mode"] = {new: old for old, new in _MODES.items()}.get(mode, mode)


def _roi_align(draft: Draft) -> None:
    draft.attrs["coordinate_transformation_mode"] = "output_half_pixel"


def _roi_align_back(draft: Draft) -> None:
    if draft.take("coordinate_transformation_mode", "half_pixel") != "output_half_pixel":
        draft.refuse("before opset 16 it has no mode 'half_pixel'")


UP: dict[tuple[str, int], Adapter] = {
    ("Upsample", 9): _scales_as_input,
    ("Upsample", 10): _upsample,
    ("Resize", 11): _coordinates,
    ("Resize", 13): _optional_inputs,
    ("GridSample", 20): _grid_sample_mode,
    ("RoiAlign", 16): _roi_align,
}
DOWN: dict[tuple[str, int], Adapter] = {
    ("Resize", 18): _every_axis,
    ("Resize", 19): _symmetric,
    ("GridSample", 20): _grid_sample_images,
    ("RoiAlign", 16): _roi_align_back,
}
