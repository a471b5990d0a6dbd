"""What TensorRT said, as problems: the node that it is about, and the reason without its noise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from onnxopt import ir
from onnxopt.backends.tensorrt.building import Attempt
from onnxopt.backends.tensorrt.wanted import ParserError
from onnxopt.pipeline.backend import Problem
from onnxopt.pipeline.base import describe
from onnxopt.rules.tensorrt.table import SPELLED

_NOISE = (
    (
        re.compile(r"\s*\[checkMacros\.cpp::catchCudaError.*?\(In catchCudaError.*?\)\)"),
        "",
    ),  # there is no GPU: so it is
    (re.compile(r"^Invalid Node - \S+ "), ""),
    (re.compile(r"\.?\s*In [\w:~]+(?:\(\))? at /\S+\.(?:cpp|h):\d+"), ""),
    (re.compile(r"^\[\w+\.(?:cpp|h)::\w+::\d+\] "), ""),
    (re.compile(r"^IBuilder::buildSerializedNetwork: "), ""),
    (re.compile(r"Assertion failed: "), ""),
    (re.compile(r'^.* && "([^"]*)"$'), r"\1"),  # an assertion with its explanation
    (re.compile(r"^false$"), "the parser has no such operator"),
)
_TENSOR = re.compile(r"\bTensor (\S+) has datatype")
_TYPES = (
    "float32", "float16", "bfloat16", "float64", "float8_e4m3fn", "float4_e2m1fn", "int64", "int32", "int8", "int4",
    "uint8", "bool",
)  # fmt: skip
"""Those that a network has; float64 is computed as float32, which the parser says."""


def parser_problems(errors: Iterable[ParserError], graph: ir.Graph) -> list[Problem]:
    """One for each node that the parser does not take; for none where it is about a type, the tensor that has it."""
    found = []
    for error in errors:
        if error.operator:
            helps = " (legalize-tensorrt says some of its forms otherwise)" if error.operator in SPELLED else ""
            found.append(Problem(error.node, f"does not parse: {plain(error.reason)}{helps}"))
        else:
            strange = _strange(graph)
            found += strange or [Problem("the graph", f"does not parse: {plain(error.reason)}")]
    return list(dict.fromkeys(found))


def builder_problem(attempt: Attempt, graph: ir.Graph) -> Problem:
    """The node that the builder could not build, as it names it."""
    return Problem(node_in(attempt.why, graph), f"parses, and does not build: {plain(attempt.why)}")


def node_in(text: str, graph: ir.Graph) -> str:
    """The node that a message of the builder speaks of, which names layers after nodes: `NODE`, `NODE_2`."""
    nodes = {node.name: node for node in ir.every_node(graph) if node.name}
    words = re.findall(r"[^\s'\"(){}\[\],;]+", text)
    exact = [word.rstrip(".:") for word in words if word.rstrip(".:") in nodes]
    begun = [name for word in words for name in nodes if word.startswith(f"{name}_")]
    names = exact or sorted(begun, key=len, reverse=True)
    if not names and (tensor := _TENSOR.search(text)):
        names = _beside(tensor[1], nodes)
    return describe(nodes[names[0]]) if names else "the graph"


def _beside(tensor: str, nodes: Mapping[str, ir.Node]) -> list[str]:
    """The node that makes a tensor, else those that read it."""
    made = [name for name, node in nodes.items() if any(each.name == tensor for each in node.outputs)]
    return made or [name for name, node in nodes.items() if any(each.name == tensor for each in node.inputs)]


def plain(text: str) -> str:
    """A reason without places in TensorRT's source, and without complaints that there is no GPU."""
    for pattern, by in _NOISE:
        text = pattern.sub(by, text)
    return " ".join(text.split())


def _strange(graph: ir.Graph) -> list[Problem]:
    """Tensors of a type that no network has."""
    tensors = {
        tensor: f"{kind} '{tensor.name}'"
        for kind, group in (("input", graph.inputs), ("output", graph.outputs), ("constant", graph.constants))
        for tensor in group
    }
    return [
        Problem(where, f"does not parse: TensorRT has no {tensor.dtype or 'sequences'}")
        for tensor, where in tensors.items()
        if str(tensor.dtype) not in _TYPES
    ]
