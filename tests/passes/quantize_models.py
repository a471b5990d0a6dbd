"""What `quantize` is tried on, and how what it made is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from onnxopt import ir
from onnxopt.data import DataSet, inputs_of
from onnxopt.data.dataset import data_set
from onnxopt.passes.quantize import Quantize
from onnxopt.pipeline.base import Context
from onnxopt.runtime.session import Session
from tests.passes.checks import GOLDEN, _read_cases, assert_equal_outputs, random_feeds, run, run_pass
from tests.passes.random_weights import random_model


def model(
    body: str, weights: str = "", *, data: str = "float[1,8,6,6] x", output: str = "y", opset: int = 17, rank: int = 4
) -> ir.Graph:
    """A graph of one or more inputs, its weights random; symbols stand for the shapes of outputs."""
    outputs = ", ".join(f"float[{','.join(f'{name}{axis}' for axis in range(rank))}] {name}" for name in output.split())
    return random_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({data}) => ({outputs}) <{weights}> {{ {body} }}'
    )


def samples(graph: ir.Graph, count: int = 4) -> DataSet:
    """Normally distributed feeds."""
    before = ir.to_proto(graph)
    return data_set("samples", inputs_of(before), lambda: (random_feeds(before, seed) for seed in range(count)), count)


def quantize(graph: ir.Graph, target: str = "onnx", data: DataSet | None = None, **options: Any) -> Context:
    """Run the pass; what comes out is valid, runs, and is left alone by a second run."""
    before = ir.to_proto(graph.copy())
    data = samples(graph) if data is None else data
    changed, ctx = run_pass(Quantize(**options), graph, data=data, target=target)
    assert changed == bool(ctx.rewrites)
    after = ir.to_proto(graph)
    onnx.checker.check_model(after, full_check=True)
    feeds = random_feeds(before)
    assert_equal_outputs(run(before, feeds), run(after, feeds), Quantize.preserves)
    found = Session(after, optimize=True).run(feeds)  # integer kernels have demands of their own
    assert all(np.isfinite(value).all() for value in found.values())
    if not options:
        text = ir.to_text(graph)
        again, _ = run_pass(Quantize(), graph, data=data, target=target)
        assert not again and ir.to_text(graph) == text, "not idempotent"
    return ctx


def golden(graph: ir.Graph, target: str, data: DataSet) -> None:
    """Compare the text before and after with `golden/quantize.txt`; ONNXOPT_UPDATE_GOLDEN=1 writes it instead."""
    path = GOLDEN / "quantize.txt"
    before = ir.to_text(graph)
    run_pass(Quantize(), graph, data=data, target=target)
    found = f"--- before\n{before.strip()}\n--- after\n{ir.to_text(graph).strip()}\n"
    cases = _read_cases(path)
    if os.environ.get("ONNXOPT_UPDATE_GOLDEN"):
        cases[target] = found
        path.write_text("".join(f"=== {name}\n{text}" for name, text in sorted(cases.items())))
    assert cases.get(target) == found


def pairs(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    """Of every activation that is quantized: the operator that gives it out (`input` for none), and its type."""
    for node in graph.nodes:
        if node.op == "QuantizeLinear":
            before = node.inputs[0].producer
            yield ("input" if before is None else before.op), str(node.outputs[0].dtype)


def read_by(graph: ir.Graph, op: str) -> list[list[str]]:
    """For each node of an operator, whether its inputs are `float`, or the integers that they are dequantized from."""
    found = []
    for node in graph.nodes:
        if node.op == op:
            before = [tensor.producer for tensor in node.inputs]
            found.append(
                [str(b.inputs[0].dtype) if b is not None and b.op == "DequantizeLinear" else "float" for b in before]
            )
    return found


def parameters(tensor: ir.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The scale and zero point of a dequantized tensor."""
    node = tensor.producer
    assert node is not None and node.op == "DequantizeLinear"
    return node.inputs[1].read(), node.inputs[2].read() if len(node.inputs) > 2 else np.zeros((), np.int8)


def node_of(graph: ir.Graph, op: str, number: int = 0) -> ir.Node:
    """One node of an operator."""
    return [node for node in graph.nodes if node.op == op][number]
