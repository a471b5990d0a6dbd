"""Rules about operators: which stand for integers outside Q/DQ, and which want their weights in a certain way."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from onnxopt.quantization.legality.facts import LAYERS, Facts, coding, constant_shape, weight_axis
from onnxopt.quantization.legality.violation import Check, Violation, slow, wrong

_INTEGER = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
_OWN = ("QAttention", "QEmbed", "QGemm", "QLinear", "QMoE", "QOrdered", "DynamicQuantize", "MatMulInteger",
        "MatMulNBits", "MatMulBnb4")  # fmt: skip
"""How onnxruntime's own begin."""
_NORMS = ("LayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization")
_SIXTEEN = ("int16", "uint16")


def no_integer_operators(engine: str) -> Check:
    """Quantized operators in place of Q/DQ: of ONNX, of onnxruntime, and Q/DQ of onnxruntime's domain."""

    def check(facts: Facts) -> Iterator[Violation]:
        for site in facts.sites:
            node = site.node
            is_own = node.domain == "com.microsoft" and node.op.startswith(_OWN)
            if node.is_op(*_INTEGER) or is_own:
                yield wrong(node, f"{engine} takes no {node.op}; quantize the float model, which gives Q/DQ")

    return check


def no_foreign_pairs(engine: str) -> Check:
    """QuantizeLinear and DequantizeLinear of onnxruntime's domain."""

    def check(facts: Facts) -> Iterator[Violation]:
        for one in facts.codings:
            if one.node.domain == "com.microsoft":
                yield wrong(one.node, f"{engine} takes none of com.microsoft; convert-opset{{opset=21}}, then quantize")

    return check


def integers_only_between_pairs(facts: Facts) -> Iterator[Violation]:
    """What reads quantized integers as they are: engines know a value to be quantized by the pair round each node."""
    for one in facts.codings:
        if not one.is_quantize:
            continue
        for reader in one.result.outputs:
            if coding(reader, one.opset) is None:
                yield wrong(reader, f"reads the integers of '{one.result.name}'; put DequantizeLinear between")
        if one.result in facts.outputs:
            yield wrong(one.node, f"the integers '{one.result.name}' are an output; put DequantizeLinear behind")


def weights_per_output_channel(
    report: Callable[..., Violation] = slow, ops: tuple[str, ...] = LAYERS, outcome: str = "runs in float"
) -> Check:
    """Scales of a weight along another axis than that of the output channels, beside a quantized activation."""

    def check(facts: Facts) -> Iterator[Violation]:
        for site in facts.of(*ops):
            for index in (0, 1) if site.node.op in ("MatMul", "Gemm") else (1,):
                found = facts.axis_of(site, index)
                if found is None or not found[0].is_constant or found[0].block or site.read(1 - index) is None:
                    continue
                wanted = weight_axis(site, len(constant_shape(found[0]) or ()))
                if index == 0 or found[1] != wanted:
                    at = "its first input" if index == 0 else "another axis" if found[1] < 0 else f"axis {found[1]}"
                    where = f"; quantize along axis {wanted} of the second input"
                    yield report(site.node, f"the scales of the weight are along {at}: {outcome}{where}")

    return check


def norm_weights_per_tensor(facts: Facts) -> Iterator[Violation]:
    """Weights of LayerNormalization and its like with a scale for each channel."""
    for site in facts.of(*_NORMS):
        for index in range(1, len(site.node.inputs)):
            found = site.read(index)
            if found is not None and found.axis is not None:
                yield wrong(site.node, f"'{found.result.name}' has a scale for each channel; give it one scale")


def sixteen_bits(facts: Facts) -> Iterator[Violation]:
    """16-bit weights beside 16-bit activations, and int16 at a Conv (refused by HTP of soc 36)."""
    for site in facts.of(*LAYERS):
        data, weight = site.read(0), site.read(1)
        if data is None or weight is None:
            continue
        if site.node.op.startswith("Conv") and "int16" in (data.integers, weight.integers):
            yield wrong(site.node, "int16 at a Conv is refused; quantize activations to uint16 and weights to int8")
        elif weight.is_constant and data.integers in _SIXTEEN and weight.integers in _SIXTEEN:
            yield wrong(site.node, "16-bit weights with 16-bit activations are refused; quantize the weight to int8")
