"""Nodes of one operator each: many in one package, beside onnxruntime."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from tests.backends.coreml.packages import Package, refusals, run

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One node."""

    op: str
    inputs: Sequence[Array | None]
    constant: Sequence[int] = ()
    """Which inputs are initializers."""
    opset: int = 18
    outputs: int = 1
    attrs: Mapping[str, Any] = field(default_factory=dict)


def case(
    op: str, *inputs: Array | None, constant: Sequence[int] = (), opset: int = 18, outputs: int = 1, **attrs: Any
) -> Case:
    return Case(op, inputs, constant, opset, outputs, attrs)


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def together(
    cases: Mapping[str, Case], folder: Path, target: str = "iOS17"
) -> dict[str, tuple[list[Array], list[Array]]]:
    """By case: what the package gives, read back from disk in float32, and what onnxruntime gives."""
    groups: dict[int, list[str]] = defaultdict(list)
    for name, each in cases.items():
        groups[each.opset].append(name)
    found = {}
    for opset, names in groups.items():
        model, feeds = model_of([(name, cases[name]) for name in names], opset)
        wanted = dict(zip((info.name for info in model.graph.output), run(model, feeds), strict=True))
        for info in model.graph.output:
            value = wanted[info.name]
            info.CopyFrom(
                helper.make_tensor_value_info(info.name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            )
        package = Package(model, folder / f"opset{opset}.mlpackage", target, "float32")
        got = package.run(feeds)
        for name in names:
            outputs = [f"{name}_y{index}" for index in range(cases[name].outputs)]
            found[name] = ([got[output] for output in outputs], [wanted[output] for output in outputs])
    return found


def require_equal(got: Sequence[Array], wanted: Sequence[Array], tolerance: float = 1e-5) -> None:
    for one, other in zip(got, wanted, strict=True):
        assert one.shape == (other.shape or (1,))
        np.testing.assert_allclose(one.reshape(other.shape), other, rtol=tolerance, atol=tolerance)


def reasons(each: Case, **dims: str) -> str:
    """Why a node is refused; `dims` names flexible dimensions of input 0, by `d0`, `d1`, ..."""
    model, _ = model_of([("n", each)], each.opset)
    for name, symbol in dims.items():
        model.graph.input[0].type.tensor_type.shape.dim[int(name[1:])].dim_param = symbol
    return "; ".join(refusals(model))


def model_of(cases: Sequence[tuple[str, Case]], opset: int) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The nodes beside one another, and their feeds."""
    nodes, values, tensors, feeds, outputs = [], [], [], {}, []
    for name, each in cases:
        names = [f"{name}_x{index}" if value is not None else "" for index, value in enumerate(each.inputs)]
        given = [f"{name}_y{index}" for index in range(each.outputs)]
        nodes.append(helper.make_node(each.op, names, given, name=name, **each.attrs))
        outputs += [onnx.ValueInfoProto(name=output) for output in given]
        for index, value in enumerate(each.inputs):
            if value is None:
                continue
            if index in each.constant:
                tensors.append(numpy_helper.from_array(value, names[index]))
                continue
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            values.append(helper.make_tensor_value_info(names[index], kind, value.shape))
            feeds[names[index]] = value
    graph = helper.make_graph(nodes, "g", values, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), feeds
