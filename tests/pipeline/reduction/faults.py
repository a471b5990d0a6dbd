"""Passes with planted faults, and graphs to plant them in."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx.parser
from onnx import ModelProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass, Preserves

OPS = ("Neg", "Abs", "Tanh", "Sigmoid")


def chain(length: int, extra: int = 0) -> ModelProto:
    """`length` nodes in a row, n0, n1, ..., of four operators in turn; `extra` Exp read each and are outputs."""
    nodes, outputs = [], []
    for number in range(length):
        op = OPS[number % len(OPS)]
        nodes.append(helper.make_node(op, [f"t{number}"], [f"t{number + 1}"], f"n{number}"))
        for side in range(extra):
            nodes.append(helper.make_node("Exp", [f"t{number + 1}"], [f"e{number}_{side}"], f"e{number}_{side}"))
            outputs.append(f"e{number}_{side}")
    infos = [helper.make_tensor_value_info(name, 1, ["N", 3]) for name in ("t0", f"t{length}", *outputs)]
    graph = helper.make_graph(nodes, "chain", infos[:1], infos[1:])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def parse(text: str) -> ModelProto:
    return onnx.parser.parse_model(text)


def with_weights(model: ModelProto, **arrays: np.ndarray) -> ModelProto:
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model


@dataclass(frozen=True)
class RaisesAt(Pass):
    """Raises where all of these nodes are in the model, in any scope."""

    nodes: tuple[str, ...] = ()

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        names = {node.name for node in ir.every_node(graph)}
        if names.issuperset(self.nodes):
            raise KeyError(self.nodes[0])
        return False


@dataclass(frozen=True)
class RaisesOnTheWay(Pass):
    """Raises where one node comes from another."""

    first: str = ""
    last: str = ""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        nodes = {node.name: node for node in graph.nodes}
        pending = [nodes[self.last]] if self.last in nodes else []
        while pending:
            node = pending.pop()
            if node.name == self.first:
                raise LookupError(node.name)
            pending += [tensor.producer for tensor in node.inputs if tensor.producer is not None]
        return False


@dataclass(frozen=True)
class RaisesTwice(Pass):
    """Raises one thing at a node, and something else where that node is gone."""

    at: str = "n5"

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        if self.at in {node.name for node in graph.nodes}:
            raise ValueError("the one")
        raise ValueError("the other")


@dataclass(frozen=True)
class Leaves(Pass):
    """Leaves a mark."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        graph.metadata_props["mark"] = "left"
        return True


@dataclass(frozen=True)
class TripsOver(Pass):
    """Raises where it finds the mark, and a node."""

    at: str = "n5"

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        if "mark" in graph.metadata_props and any(node.name == self.at for node in ir.every_node(graph)):
            raise RuntimeError("stumbled")
        return False


@dataclass(frozen=True)
class Swaps(Pass):
    """Makes another operator of a node, in any scope, and promises the same bits."""

    at: str = "n5"
    to: str = "Exp"

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        found = [node for node in ir.every_node(graph) if node.name == self.at]
        for node in found:
            node.op = self.to
        return bool(found)


@dataclass(frozen=True)
class Kills(Pass):
    """Kills its process, or hangs, at a node."""

    at: str = "n5"
    hang: bool = False

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        if any(node.name == self.at for node in graph.nodes):
            if self.hang:
                time.sleep(600)
            os.abort()
        return False


@dataclass(frozen=True)
class Harmless(Pass):
    """Does nothing, and promises little."""

    preserves: ClassVar[Preserves] = Preserves.ACCURACY
    number: int = 0

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        return False
