"""What HTP refuses, as problems: node, operator, reason, and what helps."""

from __future__ import annotations

from collections.abc import Iterable

from onnxopt import ir
from onnxopt.backends.qnn.built import Built
from onnxopt.backends.qnn.remedies import remedy
from onnxopt.backends.qnn.soc import Soc
from onnxopt.backends.qnn.trace import Refusal
from onnxopt.pipeline.backend import Problem

_SIGNED = ("int8", "int16")


def hopeless(graph: ir.Graph) -> list[Problem]:
    """What is refused in any case, and what the libraries would leave out in silence or tell of in odd words."""
    found = []
    for tensor in graph.inputs:
        if tensor.shape is None:
            found.append(Problem(f"input '{tensor.name}'", "has no shape, and HTP takes static ones only: declare one"))
            continue
        for axis, size in enumerate(tensor.shape):
            if not isinstance(size, int):
                name = size or f"{tensor.name}[{axis}]"
                found.append(
                    Problem(
                        f"input '{tensor.name}'",
                        f"dimension {axis}, {name}, has no size, and HTP takes static shapes only: "
                        f"freeze-shapes{{{_option(str(name))}}}",
                    )
                )
    for tensor in graph.outputs:
        if tensor.producer is None:
            what = "an input" if tensor in graph.inputs else "a constant"
            found.append(Problem(f"output '{tensor.name}'", f"is {what}: HTP's graph would be without it; remove it"))
    return found


def unfit(built: Built, soc: Soc, graph: ir.Graph) -> list[Problem]:
    """What the libraries built without complaint, and is not what was asked for."""
    there = set(built.outputs)
    found = [
        Problem(f"output '{tensor.name}'", "is constant, and HTP's graph is without it: remove it")
        for tensor in graph.outputs
        if tensor.name not in there
    ]
    if built.computes_float and not soc.computes_float:
        found.append(
            Problem(
                "the graph",
                f"computes in floating point, and Hexagon V{soc.arch} of {soc.name} in integers only, whatever the "
                "emulator does: quantize all of it (--target qnn)",
            )
        )
    return found


def suspicion(graph: ir.Graph) -> str:
    """What may be the reason that the emulator gives other outputs."""
    for node in graph.nodes:
        if node.is_op("QuantizeLinear") and len(node.inputs) > 2 and str(node.inputs[2].dtype) in _SIGNED:
            return (
                f"The activation '{node.inputs[0].name}' is {node.inputs[2].dtype}: activations that are quantized "
                "symmetrically compile and are wrong; quantize for this target (--target qnn)"
            )
    return "HTP computes an operator otherwise: run legalize-qnn before, or find it with onnxopt reduce"


def problems_of(refused: Iterable[Refusal]) -> list[Problem]:
    """One line a node, with what helps where that is known."""
    found = []
    for each in refused:
        helps = remedy(each)
        node = f"{each.op} '{each.node}'" if each.node else f"{each.op} inside of a function"
        found.append(Problem(node, f"{each.reason}{f' ({helps})' if helps else ''}"))
    return found


def _option(name: str) -> str:
    return f"{name}=SIZE" if name.isidentifier() else f'dims="{name}":SIZE'
