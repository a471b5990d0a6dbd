"""Rules about where Q/DQ stand: TensorRT fuses round them, and what it cannot fuse runs in float or apart."""

from __future__ import annotations

from collections.abc import Iterator

from onnxopt import ir
from onnxopt.linear.match import constant_of
from onnxopt.quantization.legality.facts import LAYERS, Coding, Facts, Site, coding, constant_shape, dequantized
from onnxopt.quantization.legality.violation import Check, Violation, slow

_ELEMENTWISE = ("Add", "Cast", "Div", "Identity", "Mul", "Pad", "Reshape", "Sub", "Transpose", "Unsqueeze")
"""What may stand between the input of a model and its first layer: preprocessing."""
_BETWEEN = ("Add", "Cast", "Div", "Expand", "Identity", "Mul", "Reshape", "Transpose", "Where", "Slice", "Squeeze",
            "Unsqueeze", "Sub")  # fmt: skip
"""What may stand between the products of an attention and its Softmax: scale, mask, heads."""
_FEW_CHANNELS = 4
"""A first layer of so many input channels or fewer runs better in float: pictures of 1, 3 or 4."""
_STEPS = 12
"""How far an attention's Softmax may be from its products."""


def one_pair_a_tensor(facts: Facts) -> Iterator[Violation]:
    """Several QuantizeLinear of one tensor, several DequantizeLinear of one, and one pair right behind another."""
    seen: set[ir.Tensor] = set()
    for one in facts.activations:
        if one.source not in seen:
            seen.add(one.source)
            twins = [reader for reader in one.source.outputs if reader.op == one.node.op and reader is not one.node]
            if twins:
                yield slow(one.node, f"'{one.source.name}' is read by {1 + len(twins)} {one.node.op}; let its readers "
                                     "share one")  # fmt: skip
        before = coding(one.source.producer, one.opset) if one.is_quantize else None
        if before is not None and not before.is_quantize and not before.is_constant:
            yield slow(one.node, f"quantizes '{one.source.name}' a second time; keep one pair")


def nothing_inside_a_fusion(facts: Facts) -> Iterator[Violation]:
    """Q/DQ between a layer and the BatchNormalization or Relu behind it."""
    for site in facts.of("BatchNormalization", "Relu", "Clip"):
        found = site.read(0)
        maker = coding(found.source.producer, found.opset) if found is not None else None
        before = None if maker is None else maker.source.producer
        if maker is not None and before is not None and before.is_op(*LAYERS, "BatchNormalization"):
            yield slow(maker.node, f"stands between {before.op} and {site.node.op}, which fuse; put it behind")


def concat_of_one_scale(facts: Facts) -> Iterator[Violation]:
    """A Concat whose inputs, or whose output, have different scales."""
    for site in facts.of("Concat"):
        codings = [site.read(index) for index in range(len(site.node.inputs))]
        found = [one for one in codings if one is not None]
        after = facts.quantized(site.node.outputs[0], site.opset)
        if found and after is not None:
            found.append(after)
        scales = {_scale(one) for one in found}
        if len(scales) > 1:
            listed = ", ".join(f"{scale:g}" for scale in sorted(scales)[:4])
            yield slow(site.node, f"scales {listed} meet; give all inputs and the output one scale")
        elif found and any(one is None for one in codings):
            yield slow(site.node, "only some of its inputs are quantized; quantize all with one scale, or none")


def _scale(one: Coding) -> float:
    return float("nan") if one.scale is None else float(one.scale.reshape(-1)[0])


def skip_branch_only(facts: Facts) -> Iterator[Violation]:
    """A residual Add: the branch that a layer has just computed stays float, and fuses; the other is quantized."""
    for site in facts.of("Add"):
        codings = [dequantized(tensor, site.opset) for tensor in site.node.inputs]
        layers = [_layer_behind(tensor, site) for tensor in site.node.inputs]
        live = [one for one in codings if one is not None and not one.is_constant]
        fused = [one for one, layer in zip(codings, layers, strict=True) if one is not None and layer is not None]
        if not fused or any(constant_of(tensor) is not None for tensor in site.node.inputs):
            continue
        maker = coding(fused[0].source.producer, site.opset)
        name = (fused[0] if maker is None else maker).source.name
        if len(live) == len(codings):
            yield slow(site.node, f"both branches are quantized; leave '{name}' float: its layer fuses")
        elif len([layer for layer in layers if layer is not None]) == 1:
            yield slow(site.node, f"'{name}', which its layer computes, is quantized; quantize the skip")


def _layer_behind(tensor: ir.Tensor, site: Site) -> ir.Node | None:
    """The layer that makes a branch of an Add, through Q/DQ, bias and BatchNormalization; None if others read it."""
    found = dequantized(tensor, site.opset)
    if found is not None:
        maker = coding(found.source.producer, site.opset)
        if maker is None or len(tensor.outputs) > 1:
            return None
        tensor = maker.source
    while len(tensor.outputs) == 1 and tensor.producer is not None:
        node = tensor.producer
        if node.is_op(*LAYERS):
            return node if any(constant_of(weight) or _is_coded(weight, site) for weight in node.inputs[1:2]) else None
        if node.is_op("BatchNormalization"):
            tensor = node.inputs[0]
        elif node.is_op("Add") and any(constant_of(term) is not None for term in node.inputs):  # a bias
            tensor = next((term for term in node.inputs if constant_of(term) is None), node.inputs[0])
        else:
            return None
    return None


def _is_coded(weight: ir.Tensor, site: Site) -> bool:
    found = dequantized(weight, site.opset)
    return found is not None and found.is_constant


def no_norms(facts: Facts) -> Iterator[Violation]:
    """LayerNormalization, which is better left in float."""
    for site in facts.of("LayerNormalization", "RMSNormalization"):
        found = next((one for index in range(len(site.node.inputs)) if (one := site.read(index)) is not None), None)
        if found is not None:
            yield slow(site.node, f"'{found.result.name}' is quantized; leave {site.node.op} in float")


def no_attention_cores(facts: Facts) -> Iterator[Violation]:
    """The products on both sides of an attention's Softmax, which the builder fuses in float."""
    for site in facts.of("Attention"):
        if any(site.read(index) is not None for index in range(min(3, len(site.node.inputs)))):
            yield slow(site.node, "its inputs are quantized; leave the attention in float")
    for site in facts.of("MatMul"):
        reads = [site.read(0), site.read(1)]
        if any(one is not None and one.is_constant for one in reads) or any(
            constant_of(tensor) is not None for tensor in site.node.inputs
        ):
            continue
        if any(one is not None for one in reads) and _is_beside_softmax(site):
            yield slow(site.node, "a product of an attention is quantized; leave it in float")


def _is_beside_softmax(site: Site) -> bool:
    """Whether Softmax makes its first input, or reads its output, with scale and mask between."""
    return _leads(site, site.node.inputs[0], up=True) or _leads(site, site.node.outputs[0], up=False)


def _leads(site: Site, tensor: ir.Tensor, up: bool) -> bool:
    for _ in range(_STEPS):
        steps = [tensor.producer] if up else list(tensor.outputs)
        if any(node is not None and node.is_op("Softmax") for node in steps):
            return True
        node = next((n for n in steps if n is not None and (n.is_op(*_BETWEEN) or coding(n, site.opset))), None)
        if node is None:
            return False
        tensor = node.inputs[0] if up else node.outputs[0]
    return False


def no_first_layers(facts: Facts) -> Iterator[Violation]:
    """A convolution of the model's own input with few channels."""
    inputs = set(facts.graph.inputs)
    for site in facts.of("Conv"):
        weight = site.read(1)
        shape = constant_shape(weight) if weight is not None and site.read(0) is not None else None
        if shape is None or len(shape) < 2 or shape[1] * int(site.node.attr("group", 1)) > _FEW_CHANNELS:
            continue
        tensor = site.node.inputs[0]
        while tensor.producer is not None and (
            tensor.producer.is_op(*_ELEMENTWISE) or coding(tensor.producer, site.opset) is not None
        ):
            tensor = tensor.producer.inputs[0]
        if tensor in inputs:
            channels = shape[1] * int(site.node.attr("group", 1))
            yield slow(site.node, f"reads the model's input of {channels} channels; leave this layer in float")


def no_vector_products(facts: Facts) -> Iterator[Violation]:
    """A MatMul or Gemm with one row: bound by memory, and slower for its Q/DQ."""
    for site in facts.of("MatMul", "Gemm"):
        weight = site.read(1)
        if weight is None or not weight.is_constant or site.read(0) is None:
            continue
        shape = facts.shapes.shape(site.node.inputs[0])
        rows = None if shape is None else shape[1:] if site.node.attr("transA", 0) else shape[:-1]
        if rows is not None and all(size == 1 for size in rows):
            yield slow(site.node, "multiplies one row; leave it in float")


def outputs_stay_float(facts: Facts) -> Iterator[Violation]:
    """Q/DQ behind the last layer, which only rounds what the model gives out."""
    for one in facts.activations:
        if not one.is_quantize and one.result in facts.outputs and not one.result.outputs:
            yield slow(one.node, "rounds an output of the model that no layer reads; leave outputs float")


def ranks(lowest: int, highest: int) -> Check:
    """Quantized activations of ranks that the engine has no operation for."""

    def check(facts: Facts) -> Iterator[Violation]:
        for one in facts.activations:
            shape = facts.shapes.shape(one.source if one.is_quantize else one.result)
            if shape is not None and one.is_quantize and not lowest <= len(shape) <= highest:
                yield slow(one.node, f"quantizes a tensor of rank {len(shape)}, where ranks are {lowest} to {highest}"
                                     "; leave it float")  # fmt: skip

    return check
