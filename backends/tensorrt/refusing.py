"""What TensorRT builds without a word and computes otherwise than the model says, or in float: refused by name.

Each was measured with TensorRT-RTX 1.7, whose builder makes an engine of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from onnxopt import ir
from onnxopt.backends.tensorrt.misunderstood import misunderstood
from onnxopt.pipeline.backend import Problem
from onnxopt.pipeline.base import describe
from onnxopt.quantization.legality import violations
from onnxopt.quantization.legality.facts import Facts


def hazards(graph: ir.Graph, flavor: Literal["rtx", "enterprise"] = "rtx") -> list[Problem]:
    """What would be silently wrong, or silently in float: each node once, with what helps. No library is needed.

    Args:
        graph: What is to be built, in all its scopes.
        flavor: Which TensorRT it is for: RTX has no integer kernel of ConvTranspose.
    """
    found = [Problem(each.node, each.reason) for each in violations(graph, "tensorrt") if each.is_wrong]
    found += _float_deconvolutions(graph) if flavor == "rtx" else ()
    found += misunderstood(graph)
    found += _versionless(graph)
    first: dict[str, Problem] = {}
    for problem in found:
        first.setdefault(problem.node, problem)
    return list(first.values())


def _float_deconvolutions(graph: ir.Graph) -> Iterator[Problem]:
    for site in Facts(graph).of("ConvTranspose"):
        if site.read(0) is not None or site.read(1) is not None:
            reason = "its inputs are quantized, and TensorRT-RTX computes it in float all the same; leave it in float"
            yield Problem(describe(site.node), f"{reason}: quantize{{keep-float=ConvTranspose}}")


def _versionless(graph: ir.Graph) -> Iterator[Problem]:
    """A model without opset_import, which is none; the parser takes some version for it."""
    if graph.nodes and graph.import_domains is not None and not list(graph.import_domains):
        yield Problem("the graph", "says no version of its operators, and is silently taken for one: run normalize")
