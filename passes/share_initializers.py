"""`share-initializers`."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import numpy as np

from onnxopt import ir
from onnxopt.folding.candidates import free_initializers
from onnxopt.ir.digest import digest
from onnxopt.ir.homes import Homes
from onnxopt.ir.values import InlineValues, MappedValues, SparseValues
from onnxopt.pipeline.base import Context, Pass

_SMALL = 1024
"""Bytes, and elements, up to which the content is looked at at once, and not shared between scopes: shape inference
sees no value of an outer scope, and needs those of shapes and axes."""
_SAMPLE = 4096
"""Bytes read at the beginning, in the middle and at the end of a large value, before all of it is."""


@dataclass(frozen=True)
class ShareInitializers(Pass):
    """Let equal initializers be one: the same element type, shape and bytes; the first keeps its name.

    In every scope. What a body and the graph around it both have becomes one where it is larger than 1 KiB (not before
    IR version 4, where initializers have to be inputs). 0.0 and -0.0 are not the same bytes. Weights are read only
    where another one has their type and shape, and then all of them only where samples agree: never more than a
    megabyte at a time. `Constant` nodes are no initializers; `fold-constants` makes them some.

    Never shared: inputs with a default, which the caller may override; what a quantization annotation names; a graph
    output gives its name up to none; the running mean and variance of a BatchNormalization in training mode, which
    onnxruntime writes over (1.31); anything in a model with training information, which may name any weight.
    """

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        if graph.model.training_info:
            ctx.refuse("initializers stay: the model's training information may name them", graph.name)
            return False
        with ir.edit(graph) as edit:
            for keeper, twin in _twins(graph, edit, ctx):
                reason = edit.obstacle(twin, keeper)
                if reason is not None:
                    ctx.refuse(f"equal to '{keeper.name}', but {reason}", twin.name)
                elif ctx.allow(f"shares the initializer '{keeper.name}'", twin.name):
                    ctx.count("bytes", twin.nbytes)
                    edit.replace_all_uses(twin, keeper)
        return edit.changed


def _twins(graph: ir.Graph, edit: ir.Edit, ctx: Context) -> Iterator[tuple[ir.Constant, ir.Constant]]:
    """Initializers that equal an earlier one, with the first such."""
    homes = Homes(graph)
    for root in (graph, *graph.functions):
        scopes = [root, *root.subgraphs(recursive=True)]
        named = {
            name
            for scope in scopes
            for entry in scope.quantization_annotation
            for name in (entry.tensor_name, *(item.value for item in entry.quant_parameter_tensor_names))
        }
        groups: defaultdict[Hashable, list[ir.Constant]] = defaultdict(list)
        for scope in scopes if free_initializers(graph) else [root]:
            for constant in homes.initializers(scope):
                if edit.is_used(constant) and not _is_updated(constant):
                    groups[_kind(constant, scope)].append(constant)
        for group in groups.values():
            if len(group) > 1:
                yield from _equal_ones(group, named, ctx)


def _is_updated(constant: ir.Constant) -> bool:
    """Whether a BatchNormalization in training mode reads it as running mean or variance, and so may write over it."""
    return any(
        node.op == "BatchNormalization"
        and (len(node.outputs) > 1 or node.attr("training_mode", 0) != 0)
        and any(tensor is constant for tensor in node.inputs[3:5])
        for node in constant.outputs
    )


def _kind(constant: ir.Constant, scope: ir.Graph) -> Hashable:
    """What can be told without a look at the values: equal for all that may be equal and may be shared."""
    values = constant._values
    export = None if constant._export_dtype is None else str(constant._export_dtype)
    return (
        constant.dtype,
        constant.shape,
        export,
        isinstance(values, SparseValues),
        scope if _is_small(constant) else None,
    )


def _is_small(constant: ir.Constant) -> bool:
    return max(constant.nbytes, math.prod(constant.shape)) <= _SMALL


def _equal_ones(group: list[ir.Constant], named: set[str], ctx: Context) -> Iterator[tuple[ir.Constant, ir.Constant]]:
    samples: defaultdict[Hashable, list[ir.Constant]] = defaultdict(list)
    for constant in group:
        samples[digest(constant) if _is_small(constant) else _sample(constant)].append(constant)
    for alike in samples.values():
        if len(alike) == 1:
            continue
        first: dict[Hashable, ir.Constant] = {}
        digests: dict[Hashable, str] = {}
        for constant in alike:
            place = _place(constant)
            if place not in digests:
                digests[place] = digest(constant)
            keeper = first.setdefault(digests[place], constant)
            if keeper is constant:
                continue
            if constant.name in named or keeper.name in named:
                ctx.refuse(f"equal to '{keeper.name}', but a quantization annotation names one of them", constant.name)
                continue
            yield keeper, constant


def _place(constant: ir.Constant) -> Hashable:
    """Where the bytes lie: the same for two that need not be compared."""
    values = constant._values
    if isinstance(values, MappedValues):
        return (values.file, values.offset, values.length)
    return id(values)


def _sample(constant: ir.Constant) -> bytes | str:
    """Some bytes of a large value, the same ones wherever it lies; a digest of it where its layouts differ."""
    values = constant._values
    is_plain = constant.dtype.itemsize * math.prod(constant.shape) == constant.nbytes
    if not is_plain or isinstance(values, SparseValues) or constant._export_dtype is not None:
        return digest(constant)
    if isinstance(values, MappedValues):
        file = values.file.fileno()
        return b"".join(os.pread(file, _SAMPLE, values.offset + at) for at in _places(values.length))
    if isinstance(values, InlineValues) and values.tensor.HasField("raw_data"):
        data = memoryview(values.tensor.raw_data)
    else:
        data = np.ascontiguousarray(constant.read()).reshape(-1).view(np.uint8).data
    return b"".join(data[at : at + _SAMPLE] for at in _places(len(data)))


def _places(length: int) -> tuple[int, int, int]:
    return 0, length // 2, max(length - _SAMPLE, 0)
