"""A small model and passes to run on it: sound ones, and ones with planted faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx.parser

from onnxopt import ir
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.pipeline.pipeline import Pipeline, Repeat
from onnxopt.pipeline.source import Source

MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
planted (float[N, 4] x) => (float[N, 4] y, float[N, 4] z)
<float[4] w = {1, 2, 3, 4}>
{
    [first] a = Mul (x, w)
    [second] b = Relu (a)
    [third] c = Neg (b)
    [fourth] y = Neg (c)
    [fifth] z = Tanh (b)
}
"""


def model(text: str = MODEL) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def graph(text: str = MODEL) -> ir.Graph:
    return ir.from_proto(model(text))


def source(text: str = MODEL) -> Source:
    return Source.of(model(text))


def pipeline(*passes: Pass | Repeat) -> Pipeline:
    return Pipeline(passes)


def repeat(*passes: Pass, rounds: int = 8) -> Repeat:
    return Repeat(Pipeline(passes), rounds)


@dataclass(frozen=True)
class Nothing(Pass):
    """Changes nothing."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        return False


@dataclass(frozen=True)
class Annotate(Pass):
    """Counts its rounds in the metadata, up to `rounds`; harmless."""

    rounds: int = 1

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        done = int(graph.metadata_props.get("rounds", 0))
        if done == self.rounds or not ctx.allow("annotated", f"round {done + 1}"):
            return False
        graph.metadata_props["rounds"] = str(done + 1)
        return True


@dataclass(frozen=True)
class Touch(Pass):
    """Asks for each node, and multiplies the weights by `factor` where the node is called `bad`."""

    bad: str = "none"
    factor: float = 2.0

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        allowed = [node for node in graph.nodes if ctx.allow("touched", node)]
        for node in allowed:
            node.metadata_props["touched"] = str(len(ctx.rewrites))
            if node.name == self.bad:
                scale_weights(graph, self.factor)
        return bool(allowed)


@dataclass(frozen=True)
class Ulp(Pass):
    """Moves the weights by their last bit, and promises bits."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        for constant in graph.constants:
            constant.values = np.nextafter(constant.read(), np.float32(np.inf))
        return True


@dataclass(frozen=True)
class Reassociate(Ulp):
    """The same, and promises values."""

    preserves: ClassVar[Preserves] = Preserves.VALUES


@dataclass(frozen=True)
class Approximate(Pass):
    """Scales the weights, and promises accuracy only."""

    preserves: ClassVar[Preserves] = Preserves.ACCURACY
    factor: float = 1.01

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        scale_weights(graph, self.factor)
        return True


@dataclass(frozen=True)
class BreakUngated(Pass):
    """Scales the weights without asking."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        scale_weights(graph, 2.0)
        return True


@dataclass(frozen=True)
class Raises(Pass):
    """Raises when it comes to the node `at`, which it asked for."""

    at: str = "third"

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        for node in graph.nodes:
            if ctx.allow("looked", node) and node.name == self.at:
                raise KeyError(f"no rule for {node.name}\nand a second line")
        return False


@dataclass(frozen=True)
class Denies(Pass):
    """Breaks the model and returns `says`."""

    says: ClassVar[object] = False

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        scale_weights(graph, 2.0)
        return self.says


@dataclass(frozen=True)
class SaysNothing(Denies):
    """Forgets to return."""

    says: ClassVar[object] = None


def scale_weights(graph: ir.Graph, factor: float) -> None:
    for constant in graph.constants:
        constant.values = constant.read() * np.float32(factor)


def editing(edit: Callable[[ir.Graph], object], promise: Preserves = Preserves.BITS) -> Pass:
    """A pass made of a function, for one test."""

    class Edited(Pass):
        """Does what the test says."""

        preserves = promise

        def run(self, graph: ir.Graph, ctx: Context) -> bool:
            edit(graph)
            return True

    return dataclass(frozen=True)(Edited)()
