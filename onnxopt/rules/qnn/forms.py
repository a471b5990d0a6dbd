"""The forms of operators that HTP does not take, or gets wrong: measured, onnxruntime-qnn 2.7.0 (QAIRT 2.51), SM8450.

Each is a question about a node that the table asks before a spelling is tried; what HTP takes stays as it is.
"""

from __future__ import annotations

import math

import numpy as np

from onnxopt.ir.known import known_value
from onnxopt.rules.spelling_out import Site, resizing, small_integers, windows

_ERF_SCALES = {"Div": math.sqrt(2), "Mul": math.sqrt(0.5)}
_ROUNDED = 1e-3
"""Exporters write the root of two in float16, too."""


def lonely_erf(site: Site) -> bool:
    """Erf is taken inside of a Gelu alone: erf(x / sqrt(2)) + 1, which onnxruntime's plugin finds in every order."""
    before, after = site[0].producer, site.edit.sole_reader(site.node.outputs[0])
    if before is None or after is None or not after.is_op("Add") or not before.is_op(*_ERF_SCALES):
        return True
    scales = [known_value(tensor) for tensor in before.inputs]
    expected = _ERF_SCALES[before.op]
    return not any(
        scale is not None and scale.size == 1 and abs(float(scale.reshape(-1)[0]) - expected) < _ROUNDED
        for scale in scales
    )


def second_output(site: Site) -> bool:
    """HTP gives out no indices, masks or moments."""
    return len(site.node.outputs) > 1


def wrong_average(site: Site) -> bool:
    """Padding past the middle of a window crashes; padding that counts is wrong on one channel, ceil_mode on all."""
    has_padding = site.attr("auto_pad", "NOTSET") != "NOTSET" or any(site.attr("pads") or ())
    if not has_padding and not site.attr("ceil_mode", 0):
        return False
    axes = windows.axes_of(site)
    if site.attr("ceil_mode", 0) and any(axis.tail > axis.after or _drops(axis) for axis in axes):
        return True
    pads = any(axis.before or axis.after for axis in axes)
    if pads and site.attr("count_include_pad", 0):
        return site.shape()[1] == 1
    return any(max(axis.before, axis.tail) > (axis.kernel - 1) // 2 for axis in axes)


def dilated(site: Site) -> bool:
    """HTP has no dilated pools."""
    return any(each != 1 for each in site.attr("dilations") or ())


def volume(site: Site) -> bool:
    """Pools of five axes: PoolMax3d and PoolAvg3d."""
    return site.rank() > 4


def hard_volume(site: Site) -> bool:
    """Averages of volumes that are padded or dilated."""
    return volume(site) and (dilated(site) or wrong_average(site))


def wrong_lp(site: Site) -> bool:
    """p of 1 and 2 alone, no volumes, and no padding beyond the middle of a window, which crashes."""
    if site.attr("p") not in (1, 2) or dilated(site) or volume(site):
        return True
    return any(max(axis.before, axis.tail) > (axis.kernel - 1) // 2 for axis in windows.axes_of(site))


def factors(site: Site) -> bool:
    """FullyConnected has no alpha, and no beta but 0 and 1."""
    return site.attr("alpha") != 1 or site.attr("beta") not in (0, 1)


def some_axes(site: Site) -> bool:
    """Pad takes no axes."""
    return site.given(3)


def repeating(site: Site) -> bool:
    """Edges are padded with garbage along the last axes, integers are not reflected, and there is no wrap."""
    mode = site.attr("mode")
    if mode == "reflect":
        dtype = site.dtype_or_none()
        return dtype is not None and dtype.kind in "iu"
    return mode in ("edge", "wrap")


def last_index(site: Site) -> bool:
    """ArgMax and ArgMin give the first."""
    return bool(site.attr("select_last_index", 0))


def several_axes(site: Site) -> bool:
    """LayerNorm and RmsNorm are over the last axis."""
    return site.attr("axis") != -1 and site.axis() != site.rank() - 1


def other_power(site: Site) -> bool:
    """L2 alone."""
    return bool(site.attr("p") != 2)


def narrow(site: Site) -> bool:
    """Integers of one and two bytes are quantized numbers; HTP casts uint8 both ways, and int16 to int32."""
    dtype = site.dtype_or_none()
    return dtype == np.uint8 or (dtype == np.int16 and site.node.op in small_integers.COMPARING)


def booleans(site: Site) -> bool:
    """Truth values are not reduced."""
    dtype = site.dtype_or_none()
    return dtype is not None and dtype.kind == "b"


def integer_power(site: Site) -> bool:
    """Both operands of Pow are of one type."""
    power = site.dtype_or_none(1)
    return power is not None and power.kind in "iu" and site.dtype().kind == "f"


def one_input(site: Site) -> bool:
    """Sum, Mean, Max, Min take two and more."""
    return len(site.node.inputs) == 1


_ROUNDING = {"half_pixel": "round_prefer_ceil", "align_corners": "round_prefer_ceil", "asymmetric": "floor"}
"""How HTP rounds the coordinates of the nearest element, whatever `nearest_mode` says."""


def wrong_resize(site: Site) -> bool:
    """No cubic, antialiased or cropped ones, no kept ratios; the scale is the quotient of the sizes; one rounding for
    each kind of coordinates."""
    mode, kind = site.attr("mode"), site.attr("coordinate_transformation_mode", "asymmetric")
    if mode not in ("linear", "nearest") or site.attr("antialias", 0) or kind not in (*_ROUNDING, "pytorch_half_pixel"):
        return True
    if site.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        return True
    axes = [axis for axis in resizing.axes_of(site) if not axis.is_kept]
    if mode == "linear":
        return any(not axis.is_exact or (kind == "pytorch_half_pixel" and axis.outputs == 1) for axis in axes)
    if kind not in _ROUNDING or (kind == "asymmetric" and site.attr("nearest_mode", "floor") != "floor"):
        return True
    given, rounding = resizing.attributes_of(site), _ROUNDING[kind]
    changed = {"nearest_mode": rounding} if site.opset >= 11 else {}
    return not all(resizing.same_choice(axis, given, site.opset, sizes_only=True, **changed) for axis in axes)


def boolean_mask(site: Site) -> bool:
    """Attention adds a mask of numbers."""
    if not site.given(3):
        return False
    dtype = site.dtype_or_none(3)
    return dtype is not None and dtype.kind == "b"


def dropped_window(site: Site) -> bool:
    """With ceil_mode, a last window that would start in the padding, and so is none, confuses the plugin."""
    return bool(site.attr("ceil_mode", 0)) and any(_drops(axis) for axis in windows.axes_of(site))


def _drops(axis: windows.Axis) -> bool:
    covered = axis.size + axis.before + axis.after - axis.extent
    return -(-covered // axis.stride) + 1 > axis.windows


def wide_integers(site: Site) -> bool:
    """Integers of four and eight bytes."""
    dtype = site.dtype_or_none()
    return dtype is not None and dtype.kind == "i" and dtype.itemsize >= 4
