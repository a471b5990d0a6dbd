"""Pools and convolutions: which windows there are."""

from __future__ import annotations

from onnxopt.opsets.draft import Adapter, Draft


def _windows_in_the_padding(draft: Draft) -> None:
    """Since opset 22 a window that would start in the padding at the end is none; with `ceil_mode` there may be one.

    The last window starts at ceil(c / stride) stride, which is at most c + stride - 1, where c is the padded size less
    the extent of the kernel; the padding at the end starts at the size and the padding before it.
    """
    if not draft.read("ceil_mode", 0) or draft.read("auto_pad", "NOTSET") != "NOTSET":
        return
    kernel = draft.read("kernel_shape")
    rank = len(kernel)
    strides, dilations = (draft.read(name) or [1] * rank for name in ("strides", "dilations"))
    pads = draft.read("pads") or [0] * (2 * rank)
    shape = draft.shape()
    for axis in range(rank):
        extent = dilations[axis] * (kernel[axis] - 1) + 1
        if pads[axis + rank] - extent + strides[axis] - 1 < 0:
            continue
        size = None if shape is None else shape[axis + 2]
        if size is None:
            draft.refuse("with 'ceil_mode' its windows may be others across opset 22: the size of its input is open")
        covered = size + pads[axis] + pads[axis + rank] - extent
        if -(-covered // strides[axis]) * strides[axis] >= size + pads[axis]:
            draft.refuse("with 'ceil_mode' a window of it starts in the padding, which there is only before opset 22")


def _undilated(draft: Draft) -> None:
    dilations = draft.read("dilations")
    if dilations is not None and set(dilations) <= {1}:
        del draft.attrs["dilations"]


def _transposed(draft: Draft) -> None:
    """Opset 11 changed which side takes the odd element of a padding that has to be worked out."""
    if "output_shape" in draft.attrs or draft.read("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        draft.refuse("since opset 11 the odd element of its padding is on the other side: give 'pads'")


UP: dict[tuple[str, int], Adapter] = {
    ("ConvTranspose", 11): _transposed,
    ("AveragePool", 22): _windows_in_the_padding,
    ("MaxPool", 22): _windows_in_the_padding,
}
DOWN: dict[tuple[str, int], Adapter] = {
    ("AveragePool", 19): _undilated,
    ("LpPool", 18): _undilated,
    ("AveragePool", 22): _windows_in_the_padding,
    ("MaxPool", 22): _windows_in_the_padding,
}
