"""NonMaxSuppression: boxes chosen one after the other, and what overlaps with them left out."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

from onnxopt.backends.coreml.lowering.families.indexing import gathered
from onnxopt.backends.coreml.lowering.families.reduce import first_of
from onnxopt.backends.coreml.lowering.numbers import float_operand, like
from onnxopt.backends.coreml.lowering.registry import lowers
from onnxopt.backends.coreml.lowering.site import Site
from onnxopt.backends.coreml.lowering.stepping import Step, in_steps


@lowers("NonMaxSuppression")
def non_max_suppression(site: Site) -> Any:
    """For every class of every image at once; `mb.non_maximum_suppression` does not say how many it has chosen.

    The shape of the result is known only when it runs.
    """
    boxes, scores = float_operand(site, 0), float_operand(site, 1)
    batch, classes, count = site.sizes(1)
    most = min(int(site.constant(2, "max_output_boxes_per_class").reshape(())) if site.has(2) else 0, count)
    site.require(most > 0, "it chooses no box (max_output_boxes_per_class); Core ML has no empty tensors")
    overlap = float(site.constant(3, "iou_threshold").reshape(())) if site.has(3) else 0.0
    site.note("where it chooses no box at all, its result is empty, of which Core ML does not say what it does")
    groups = batch * classes
    live = mb.reshape(x=scores, shape=[groups, count])
    if site.has(4):
        least = site.constant(4, "score_threshold").reshape(())
        enough = mb.greater(x=live, y=like(live, least))
        live = mb.select(cond=enough, a=live, b=_never(live, (groups, count)))
    low, high = _corners(site, boxes, classes)
    step = _step(site, low, high, overlap, (groups, count))
    chosen, _ = in_steps(most, step, [live], np.zeros(groups, np.int32))
    flat = mb.reshape(x=mb.transpose(x=chosen, perm=[1, 0]), shape=[groups * most, 1])
    of = np.stack(np.meshgrid(np.arange(batch), np.arange(classes), np.arange(most), indexing="ij"), -1)
    rows = mb.concat(values=[of[..., :2].reshape(-1, 2).astype(np.int32), flat], axis=1)
    there = mb.cast(x=mb.greater_equal(x=mb.squeeze(x=flat, axes=[1]), y=np.int32(0)), dtype="int32")
    return gathered(rows, mb.squeeze(x=mb.non_zero(x=there), axes=[1]), 0, site.name)


def _never(like_: Any, shape: tuple[int, ...]) -> Any:
    return np.full(shape, like(like_, -np.inf))


def _corners(site: Site, boxes: Any, classes: int) -> tuple[list[Any], list[Any]]:
    """The lower and the upper corner along both axes, [batch * classes, boxes] each."""
    sides = [mb.squeeze(x=each, axes=[2]) for each in mb.split(x=boxes, num_splits=4, axis=2)]
    if site.attr("center_point_box", 0):
        halves = [mb.mul(x=side, y=like(side, 0.5)) for side in sides[2:]]
        pairs = list(zip(sides[:2], halves, strict=True))
        low = [mb.sub(x=middle, y=half) for middle, half in pairs]
        high = [mb.add(x=middle, y=half) for middle, half in pairs]
    else:  # any two corners that are opposite
        pairs = list(zip(sides[:2], sides[2:], strict=True))
        low = [mb.minimum(x=one, y=two) for one, two in pairs]
        high = [mb.maximum(x=one, y=two) for one, two in pairs]
    return [_of_each_class(each, classes) for each in low], [_of_each_class(each, classes) for each in high]


def _of_each_class(side: Any, classes: int) -> Any:
    batch, count = (int(size) for size in side.shape)
    if classes == 1:
        return side
    tiled = mb.tile(x=mb.expand_dims(x=side, axes=[1]), reps=[1, classes, 1])
    return mb.reshape(x=tiled, shape=[batch * classes, count])


def _step(site: Site, low: list[Any], high: list[Any], overlap: float, shape: tuple[int, ...]) -> Step:
    """The best box that is left, or -1; it, and what overlaps with it too much, is left no more."""
    area = mb.mul(x=mb.sub(x=high[0], y=low[0]), y=mb.sub(x=high[1], y=low[1]))

    def step(_: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        (live,) = states
        best = mb.reduce_max(x=live, axes=[1], keep_dims=True)
        index, places = first_of(site, mb.equal(x=live, y=best), 1)
        is_best = mb.equal(x=places, y=index)
        shares = []
        for lower, upper in zip(low, high, strict=True):
            ends = mb.minimum(x=upper, y=_at(is_best, upper)), mb.maximum(x=lower, y=_at(is_best, lower))
            shares.append(mb.maximum(x=mb.sub(x=ends[0], y=ends[1]), y=like(lower, 0)))
        common = mb.mul(x=shares[0], y=shares[1])
        both = mb.sub(x=mb.add(x=area, y=_at(is_best, area)), y=common)
        nothing = mb.cast(x=mb.less_equal(x=both, y=like(both, 0)), dtype=_name(both))
        share = mb.real_div(x=common, y=mb.add(x=both, y=nothing))
        gone = mb.logical_or(x=mb.greater(x=share, y=like(share, overlap)), y=is_best)
        there = mb.cast(x=mb.greater(x=best, y=like(best, -np.inf)), dtype="int32")
        number = mb.sub(x=mb.mul(x=mb.add(x=index, y=np.int32(1)), y=there), y=np.int32(1))
        live = mb.select(cond=gone, a=_never(live, shape), b=live)
        return mb.squeeze(x=number, axes=[1]), [live]

    return step


def _at(is_best: Any, values: Any) -> Any:
    """The value of the best box of each group, [groups, 1]."""
    kept = mb.mul(x=values, y=mb.cast(x=is_best, dtype=_name(values)))
    return mb.reduce_sum(x=kept, axes=[1], keep_dims=True)


def _name(var: Any) -> str:
    return str(types.builtin_to_string(var.dtype))
