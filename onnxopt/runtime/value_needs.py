"""Which values a model's inputs need because of the operators that read them: indices, sizes, axes, counts.

The rules are in value_rules. The shapes that they ask for come from onnx's shape inference, run on the model without
its weights and with concrete input shapes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, inliner, shape_inference

from onnxopt.data.spec import spec_of
from onnxopt.runtime.scopes import every_scope, subgraphs
from onnxopt.runtime.value_rules import RULES, Between, Need, Use

_SMALL = 1024
"""Initializers above this many elements are replaced by their shape."""


def needs_of(model: ModelProto, shapes: Mapping[str, tuple[int, ...]], limit: int) -> dict[str, Need]:
    """What each input in `shapes` (concrete shapes by name) needs; inputs that anything suits are left out.

    Ranges that several operators ask for are intersected; exact values win over ranges.
    """
    light = _without_weights(model, shapes)
    known = _known_shapes(light)
    readers: dict[str, list[tuple[NodeProto, int]]] = defaultdict(list)
    for scope in every_scope(light):
        for node in scope.node:
            for slot, name in enumerate(node.input):
                readers[name].append((node, slot))
    found: dict[str, Need] = {}
    for name, shape in shapes.items():
        wanted = [
            RULES[node.op_type, slot](Use(node, slot, shape, known, limit)) for node, slot in _uses(name, readers)
        ]
        exact = [need for need in wanted if not isinstance(need, Between)]
        ranges = [need for need in wanted if isinstance(need, Between)]
        if exact:
            found[name] = exact[0]
        elif ranges:
            found[name] = Between(max(r.low for r in ranges), min(r.high for r in ranges))
    return found


_FOLLOWED = (
    {"Cast", "CastLike", "Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape"}
    | {"Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)  # fmt: skip
"""What hands its first input's values on (Concat: any input's)."""


def _uses(name: str, readers: Mapping[str, list[tuple[NodeProto, int]]]) -> Iterator[tuple[NodeProto, int]]:
    """The places with a rule that the values of `name` reach."""
    waiting, seen = [name], {name}
    while waiting:
        for node, slot in readers.get(waiting.pop(), ()):
            if (node.op_type, slot) in RULES:
                yield node, slot
            reached = _handed_on(node, slot)
            waiting += [name for name in reached if name not in seen]
            seen.update(reached)


def _handed_on(node: NodeProto, slot: int) -> list[str]:
    if node.op_type in _FOLLOWED and (slot == 0 or node.op_type == "Concat"):
        return list(node.output)
    if node.op_type == "Loop" or node.op_type == "Scan":  # their inputs are those of the body, slot for slot
        return [body.input[slot].name for body in subgraphs(node) if slot < len(body.input)]
    return []


def _without_weights(model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> ModelProto:
    """The model with concrete inputs, functions inlined, and large initializers as inputs of their shape."""
    light = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    light.graph.name = model.graph.name or "main"
    light.graph.node.extend(model.graph.node)
    light.graph.output.extend(model.graph.output)
    light.graph.value_info.extend(model.graph.value_info)
    for value in model.graph.input:
        concrete = light.graph.input.add()
        concrete.CopyFrom(value)
        if spec_of(value).kind == "tensor" and value.name in shapes:
            concrete.CopyFrom(
                helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shapes[value.name])
            )
    listed = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SMALL and not tensor.external_data:
            light.graph.initializer.append(tensor)
        elif tensor.name not in listed:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return inliner.inline_local_functions(light) if light.functions else light


def _known_shapes(light: ModelProto) -> dict[str, tuple[int | None, ...]]:
    try:
        inferred = shape_inference.infer_shapes(light, data_prop=True)
    except Exception:  # noqa: BLE001  onnx's inference refuses models that onnxruntime runs; what they declare is left
        inferred = light
    known: dict[str, tuple[int | None, ...]] = {}
    for scope in every_scope(inferred):
        for value in [*scope.value_info, *_signature(scope)]:
            spec = spec_of(value)
            if spec.shape is not None:
                known[value.name] = tuple(dim if isinstance(dim, int) else None for dim in spec.shape)
        if isinstance(scope, GraphProto):
            known |= {tensor.name: tuple(tensor.dims) for tensor in scope.initializer}
    return known


def _signature(scope: Any) -> list[onnx.ValueInfoProto]:
    return [*scope.input, *scope.output] if isinstance(scope, GraphProto) else []
