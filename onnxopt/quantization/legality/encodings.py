"""Rules about single encodings: types, zero points, scales, granularity, biases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import ml_dtypes
import numpy as np

from onnxopt.linear.match import constant_of
from onnxopt.quantization.legality.facts import Coding, Facts, constant_shape
from onnxopt.quantization.legality.violation import Check, Violation, slow, wrong

_SINCE = {"int8": 10, "uint8": 10, "int32": 10, "int16": 21, "uint16": 21, "int4": 21, "uint4": 21}
"""The opset since which QuantizeLinear and DequantizeLinear of ONNX take a type."""
_AXIS_SINCE, _BLOCKS_SINCE = 13, 21
_PRODUCT_TOLERANCE = 1e-5
"""Of a bias's scale, relative: it is a product of two float32 numbers, and may have been rounded on the way."""


def well_formed(constant_scales: bool = True) -> Check:
    """What ONNX itself demands, and that scales are positive numbers; where asked, known before the model runs."""

    def check(facts: Facts) -> Iterator[Violation]:
        for one in facts.codings:
            yield from _malformed(one, constant_scales)

    return check


def _malformed(one: Coding, constant_scales: bool) -> Iterator[Violation]:
    scale, zero = one.scale, one.zero
    if scale is None:
        if constant_scales and not one.is_known:
            yield wrong(one.node, "its scale is computed at run time; quantize with a calibrated one")
        return
    numbers = scale.astype(np.float64)
    if not (np.isfinite(numbers) & (numbers > 0)).all():
        yield wrong(one.node, f"a scale is {numbers[~(np.isfinite(numbers) & (numbers > 0))][0]}; calibrate again")
    if zero is not None and zero.size != scale.size:
        yield wrong(one.node, f"{scale.size} scales and {zero.size} zero points; write one for each")
    maker = None if one.is_quantize else one.source
    if one.has_zero and maker is not None and maker.dtype is not None and str(maker.dtype) != one.integers:
        yield wrong(one.node, f"reads {maker.dtype} with a zero point of {one.integers}; they have to be the same type")
    shape = constant_shape(one)
    if one.axis is None or shape is None or one.block:
        return
    if not -len(shape) <= one.axis < len(shape) or shape[one.axis] != scale.size:
        yield wrong(one.node, f"{scale.size} scales along axis {one.axis} of a constant of shape {list(shape)}")


def opset_has_it(facts: Facts) -> Iterator[Violation]:
    """Axes, blocks and types that QuantizeLinear and DequantizeLinear have only in later opsets."""
    for one in facts.codings:
        if one.node.domain == "com.microsoft":
            continue
        needs = max(
            _SINCE.get(one.integers, 19),
            _AXIS_SINCE if one.axis is not None else 0,
            _BLOCKS_SINCE if one.block else 0,
        )
        if one.opset < needs:
            what = "blocks" if one.block else "scales per channel" if needs == _AXIS_SINCE else one.integers
            yield wrong(one.node, f"{what} in opset {one.opset}; run convert-opset{{opset={needs}}} first")


def integers(
    activations: tuple[str, ...],
    constants: tuple[str, ...],
    remedies: Mapping[str, str],
    otherwise: str,
) -> Check:
    """The types of activations and of weights; biases apart.

    Args:
        activations: Names of types.
        constants: Those of weights.
        remedies: By the type that was found, what to do.
        otherwise: What to do about any other type.
    """

    def check(facts: Facts) -> Iterator[Violation]:
        for one in facts.codings:
            allowed = constants if one.is_constant else activations
            if one.integers and one.integers not in allowed and one.node not in facts.bias_nodes:
                what = "a weight" if one.is_constant else "an activation"
                remedy = remedies.get(one.integers, otherwise)
                yield wrong(one.node, f"{what} of {one.integers}, where there can be {' or '.join(allowed)}; {remedy}")

    return check


def symmetric(report: Callable[..., Violation], remedy: str) -> Check:
    """Zero points: 0 of signed types, the middle of unsigned ones."""

    def check(facts: Facts) -> Iterator[Violation]:
        for one in facts.codings:
            middle = middle_of(one.integers)
            if one.node in facts.bias_nodes or middle is None:
                continue
            zero = one.zero if one.has_zero else np.zeros((), np.int64)
            if zero is None:
                if constant_of(one.node.inputs[2]) is None:
                    yield report(one.node, f"its zero point is computed at run time; {remedy}")
            elif (zero.astype(np.int64) != middle).any():
                found = int(zero.astype(np.int64)[zero.astype(np.int64) != middle].flat[0])
                yield report(
                    one.node, f"the zero point {found} of {one.integers}, where it has to be {middle}; {remedy}"
                )

    return check


def middle_of(integers: str) -> int | None:
    """The zero point of symmetric values; None where the type is none of integers."""
    try:
        info = ml_dtypes.iinfo(integers)  # type: ignore[no-untyped-call]  # as ml_dtypes ships it
    except ValueError:
        return None
    return 0 if int(info.min) < 0 else (int(info.max) + 1) // 2


def activations_per_tensor(facts: Facts) -> Iterator[Violation]:
    """One scale for an activation."""
    for one in facts.activations:
        if one.axis is not None:
            yield slow(one.node, "an activation has a scale for each channel, and runs in float; give it one scale")


def float_biases(facts: Facts) -> Iterator[Violation]:
    """No DequantizeLinear at the bias of a layer, nor any of int32."""
    for one in facts.codings:
        if one.node in facts.bias_nodes or one.integers == "int32":
            yield wrong(one.node, f"a bias of {one.integers}, where it has to be float; requantize makes it so")


def biases_of_products(facts: Facts) -> Iterator[Violation]:
    """The scale of a bias is that of the input times that of the weight, and its zero point 0, or no kernel has it."""
    for site, bias in facts.biases():
        data, weight = site.read(0), site.read(1)
        if bias.integers != "int32":
            yield slow(bias.node, f"a bias of {bias.integers}: the layer runs in float; quantize it to int32")
            continue
        if bias.zero is not None and bias.zero.any():
            zero = int(bias.zero[bias.zero != 0].flat[0])
            yield slow(bias.node, f"the zero point {zero} of a bias: the layer runs in float; make it 0")
        if data is None or weight is None or bias.scale is None or data.scale is None or weight.scale is None:
            continue
        product = data.scale.astype(np.float64).reshape(-1) * weight.scale.astype(np.float64).reshape(-1)
        found = bias.scale.astype(np.float64).reshape(-1)
        if found.size not in (1, product.size) and product.size != 1:
            yield slow(bias.node, f"{found.size} scales beside {product.size} of the weight; give it as many")
            continue
        off = np.abs(found - product) / product
        if (off > _PRODUCT_TOLERANCE).any():
            worst = int(np.argmax(off))
            given, expected = found[worst % found.size], product[worst % product.size]
            why = f"its scale is {given:g}, and that of the input times that of the weight is {expected:g}"
            yield slow(bias.node, f"{why}: the layer runs in float; quantize the bias with the product")
