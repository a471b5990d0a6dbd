"""Rules of an engine for which a graph is quantized as a whole: every tensor between quantized ones has an encoding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxopt import ir
from onnxopt.ir.known import known_value
from onnxopt.linear.match import constant_of, is_float
from onnxopt.quantization.legality.encodings import middle_of
from onnxopt.quantization.legality.facts import LAYERS, Facts, Site, coding
from onnxopt.quantization.legality.violation import Violation, slow, wrong

_NO_REALS = ("ArgMax", "ArgMin", "Constant", "ConstantOfShape", "NonZero", "Range", "Shape", "Size", "If", "Loop",
             "Scan", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual",
             "OneHot")  # fmt: skip
"""Operators that have their outputs, or bodies, elsewhere."""
_PARAMETERS = ("Clip", "Pad", "Resize", "Upsample")
"""Operators whose constants are parameters, and no tensors to the engine."""
_MOST_BY_CHANCE = 1
"""So many activations may lie round zero by chance before the graph is said to be quantized symmetrically."""


def no_float_islands(facts: Facts) -> Iterator[Violation]:
    """Tensors without an encoding beside tensors of the same node that have one."""
    for site in facts.sites:
        if not site.node.is_standard or site.node.is_op(*_NO_REALS):
            continue
        inputs = [tensor for tensor in site.node.inputs if tensor.name and _is_real(tensor)]
        live = [tensor for tensor in inputs if constant_of(tensor) is None and not _reads_constant(tensor, site)]
        bare = [tensor for tensor in live if _encoded(tensor, site) is None]
        coded = [tensor for tensor in inputs if _encoded(tensor, site) is not None]
        if not coded or not live:
            continue
        if bare and len(bare) < len(live):
            yield slow(site.node, f"'{bare[0].name}' has no encoding and other inputs have one; quantize it too")
        elif not bare and not _keeps_float_weight(site):
            free = [] if site.node.is_op(*_PARAMETERS) else [one for one in inputs if constant_of(one) is not None]
            if free and all(_gets_encoding(one, facts, site) for one in site.node.outputs[:1]):
                yield slow(site.node, f"the constant '{free[0].name}' has no encoding and its other inputs have one; "
                                      "quantize it too")  # fmt: skip
            for tensor in site.node.outputs:
                if tensor.name and _is_real(tensor) and not _gets_encoding(tensor, facts, site):
                    yield slow(site.node, f"its output '{tensor.name}' has no encoding and its inputs have one; "
                                          "put QuantizeLinear behind it")  # fmt: skip


def _gets_encoding(tensor: ir.Tensor, facts: Facts, site: Site) -> bool:
    """Whether it is quantized, at once or behind the Relu or Clip that becomes part of it."""
    if facts.quantized(tensor, site.opset) is not None:
        return True
    readers = tensor.outputs
    is_clipped = len(readers) == 1 and readers[0].is_op("Relu", "Clip") and tensor not in facts.outputs
    return is_clipped and facts.quantized(readers[0].outputs[0], site.opset) is not None


def _encoded(tensor: ir.Tensor, site: Site) -> ir.Node | None:
    found = coding(tensor.producer, site.opset)
    return None if found is None or found.is_quantize else found.node


def _reads_constant(tensor: ir.Tensor, site: Site) -> bool:
    found = coding(tensor.producer, site.opset)
    return found is not None and found.is_constant


def _is_real(tensor: ir.Tensor) -> bool:
    """Whether it holds real numbers, as far as it says."""
    return tensor.dtype is None or is_float(tensor.dtype)


def _keeps_float_weight(site: Site) -> bool:
    """Whether it is a layer that was left in float: so is then what it gives out."""
    return site.node.is_op(*LAYERS) and len(site.node.inputs) > 1 and constant_of(site.node.inputs[1]) is not None


def asymmetric_activations(facts: Facts) -> Iterator[Violation]:
    """Symmetric activations compile, and the outputs are about 0 dB from what they should be."""
    quantized = [one for one in facts.activations if one.is_quantize]
    middles = []
    for one in quantized:
        if one.integers.startswith("int"):
            yield wrong(one.node, f"an activation of {one.integers}: symmetric ones compile and are silently wrong; "
                                  "quantize to uint8 or uint16, asymmetric")  # fmt: skip
        elif one.zero is not None and one.zero.size == 1 and int(one.zero.reshape(-1)[0]) == middle_of(one.integers):
            middles.append(one)
    if len(middles) > _MOST_BY_CHANCE and len(middles) == len(quantized):
        for one in middles:
            yield wrong(one.node, "all activations have the zero point of symmetric ones, which compile and are "
                                  "silently wrong; calibrate asymmetric ones")  # fmt: skip


def clips_start_at_zero(facts: Facts) -> Iterator[Violation]:
    """Relu, and Clip from 0 on, lose that bound where the encoding of their output does not start at 0."""
    for site in facts.of("Relu", "Clip"):
        if site.node.op == "Clip" and _lower(site) != 0:
            continue
        after = facts.quantized(site.node.outputs[0], site.opset)
        if after is None or (after.has_zero and after.zero is None):
            continue
        zero = 0 if after.zero is None else int(after.zero.astype(np.int64).reshape(-1)[0])
        if after.integers.startswith("uint") and zero != 0:
            yield wrong(
                after.node, f"the zero point {zero} behind {site.node.op}, which then loses its lower bound; make it 0"
            )  # fmt: skip


def _lower(site: Site) -> float | None:
    given = site.node.attr("min")
    if isinstance(given, (int, float)):
        return float(given)
    value = known_value(site.node.inputs[1]) if site.has(1) else None
    return None if value is None or value.size != 1 else float(value.reshape(-1)[0])
