"""The forms of operators that TensorRT does not take: measured, tensorrt-rtx 1.7.

Each is a question about a node that the table asks before a spelling is tried; what it takes stays as it is.
"""

from __future__ import annotations

import numpy as np

from onnxopt.ir.dtypes import to_numpy
from onnxopt.ir.known import known_value
from onnxopt.rules.spelling_out import Site
from onnxopt.rules.spelling_out.quantized import FLOAT8


def second_output(site: Site) -> bool:
    """One output alone."""
    return len(site.node.outputs) > 1


def dilated(site: Site) -> bool:
    """There are no dilated pools."""
    return any(each != 1 for each in site.attr("dilations") or ())


def hard_lp(site: Site) -> bool:
    """p of 1 and 2 alone, not dilated."""
    return site.attr("p") not in (1, 2) or dilated(site)


def booleans(site: Site) -> bool:
    """Truth values are not reduced."""
    return site.dtype_or_none() == np.bool_


_COORDINATES = ("align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn")


def hard_resize(site: Site) -> bool:
    """No antialiased or cropped ones, and none that keeps the aspect ratio."""
    if site.attr("antialias", 0) or site.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        return True
    return site.attr("coordinate_transformation_mode", "asymmetric") not in _COORDINATES


def unsigned(site: Site) -> bool:
    """There is no arithmetic of uint8."""
    return site.dtype_or_none() == np.uint8


def narrow(site: Site) -> bool:
    """Bytes are quantized numbers."""
    return site.dtype_or_none() in (np.int8, np.uint8)


def eight_bits(site: Site) -> bool:
    """Numbers of float8 are quantized and dequantized alone."""
    to = site.dtype_or_none(1) if site.node.op == "CastLike" else to_numpy(site.attr("to"))
    return FLOAT8 in (site.dtype_or_none(), to)


def training(site: Site) -> bool:
    """BatchNormalization takes its moments as they are."""
    return bool(site.attr("training_mode", 0))


def floored(site: Site) -> bool:
    """Floating-point numbers have the remainder with the sign of the dividend alone."""
    dtype = site.dtype_or_none()
    return dtype is not None and dtype.kind == "f" and not site.attr("fmod", 0)


def reducing(site: Site) -> bool:
    """Scatter replaces."""
    return bool(site.attr("reduction", "none") != "none")


def row_times_matrices(site: Site) -> bool:
    """A vector times several matrices."""
    return site.rank() == 1 and site.rank(1) > 2


def foreign_dequantize(site: Site) -> bool:
    """int8 with a constant scale and a zero point of 0, and the types of fewer bits, are taken; other bytes are not."""
    dtype = site.dtype_or_none()
    return dtype in (np.uint8, np.int32) or (dtype == np.int8 and not _symmetric(site))


def foreign_quantize(site: Site) -> bool:
    """To int8 with a constant scale and a zero point of 0."""
    if not site.given(2):
        return site.attr("output_dtype", 0) in (0, 2)  # TensorProto.UINT8
    dtype = site.dtype_or_none(2)
    return dtype == np.uint8 or (dtype == np.int8 and not _symmetric(site))


def _symmetric(site: Site) -> bool:
    zero = known_value(site[2]) if site.given(2) else np.zeros(1)
    return site.is_known(1) and zero is not None and not zero.any()
