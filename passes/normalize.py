"""`normalize`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from onnx import TensorProto, helper

from onnxopt import ir
from onnxopt.folding.constant_nodes import make_initializers
from onnxopt.ir.shapes import Contradiction, infer
from onnxopt.opsets.imports import clean_imports, default_version
from onnxopt.opsets.ir_version import needed_ir_version
from onnxopt.pipeline.base import Context, Pass, Preserves
from onnxopt.runtime.session import NotRunnable, Session

_UNLISTED = 4
"""The IR version since which an initializer need not be an input, and one that is can be overridden (IR.md)."""


@dataclass(frozen=True)
class Normalize(Pass):
    """Bring a model from the wild into the form that ONNX's specification asks for; it computes what it did.

    Each domain is imported once, the default one as "": where two versions of it are, the last of them that all nodes
    fit, as onnxruntime reads such a file; where none is, the newest that all nodes fit. The IR version is raised to
    what the opset and the types need, and lowered to that where onnxruntime knows no such version. Initializers are no
    longer inputs, but for those that a caller can override (see `overridable`). Constant nodes become initializers. A
    declared type or shape that contradicts what follows from the inputs and operators is corrected, one of a model's
    output too.

    Refused: versions of the default domain that no node set fits; sparse Constant nodes, and those that are an output
    of a graph. Opsets stay: `convert-opset` changes them.
    """

    preserves: ClassVar[Preserves] = Preserves.BITS

    overridable: bool = True
    """Keep inputs with a default value (IR version 4 and newer), which a caller may give; false makes them constant, as
    most exporters that list weights as inputs mean them."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        changed = ir.sort(graph)
        changed |= _clean_imports(graph, ctx)
        changed |= _fit_ir_version(graph, ctx)
        changed |= _unlist(graph, ctx, self.overridable)
        changed |= make_initializers(graph, lambda node: _allow_initializer(node, ctx), ctx.refuse)
        if changed:
            ctx.forget()
        return _correct_declarations(graph, ctx) | changed


def _clean_imports(graph: ir.Graph, ctx: Context) -> bool:
    changed = False
    for root in (graph, *graph.functions):
        version = default_version(root)
        if version is None:
            ctx.refuse("the nodes fit no version of the default domain that is imported, nor any one", root.name)
            ctx.warn(f"'{root.name}': its nodes fit no one version of the default domain: its imports stay")
            continue
        wanted = clean_imports(root, version)
        if list(root.import_domains or ()) == wanted:
            continue
        was = ", ".join(f"{entry.domain or 'default'} {entry.version}" for entry in root.import_domains or ()) or "none"
        if ctx.allow(f"imports of opsets written anew (were: {was})", root.name):
            for scope in (root, *root.subgraphs(recursive=True)):
                scope.import_domains, scope.opset = wanted, version
            changed = True
    return changed


def _fit_ir_version(graph: ir.Graph, ctx: Context) -> bool:
    was = graph.ir_version
    if was is None:
        return False
    needed = max(needed_ir_version(graph), min(was, _UNLISTED))
    is_wrong = _is_known(needed) if was < needed else was > needed and not _is_known(was)
    fitting = needed if is_wrong else was
    if fitting == was or not ctx.allow(f"IR version {was} made {fitting}", graph.name):
        return False
    for scope in ir.every_graph(graph):
        scope.ir_version = fitting
    return True


@lru_cache(maxsize=32)
def _is_known(ir_version: int) -> bool:
    """Whether onnxruntime reads models of this IR version."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", [value], [output])
    try:
        Session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=ir_version))
    except NotRunnable:
        return False
    return True


def _unlist(graph: ir.Graph, ctx: Context, keep_overridable: bool) -> bool:
    """Take the initializers out of the lists of inputs."""
    changed = False
    initializers = {constant.name for constant in graph.constants}
    listed = [name for name in graph.listed if name in initializers]
    if listed and (graph.ir_version or _UNLISTED) < _UNLISTED:
        lowest = max(needed_ir_version(graph), _UNLISTED)
        if ctx.allow(f"{len(listed)} initializers are no inputs any more, IR version {lowest}", graph.name):
            for scope in ir.every_graph(graph):
                scope.ir_version = lowest
            graph.listed.clear()
            changed = True
    overridable = [tensor for tensor in graph.inputs if isinstance(tensor, ir.Variable) and tensor.default is not None]
    for tensor in overridable:
        if keep_overridable:
            ctx.refuse("an input with a default value, which `overridable` keeps", tensor.name)
        elif tensor in graph.outputs:
            ctx.refuse("an input with a default value that is an output too", tensor.name)
        elif ctx.allow("input with a default value made an initializer", tensor.name):
            _make_constant(tensor, graph)
            ctx.count("inputs made initializers")
            changed = True
    return changed


def _make_constant(tensor: ir.Variable, graph: ir.Graph) -> None:
    assert tensor.default is not None
    values = tensor.default._values
    graph.inputs = [other for other in graph.inputs if other is not tensor]
    graph.listed.pop(tensor.name, None)
    tensor.info = None
    constant = tensor.to_constant(values)
    graph.constants.append(constant)
    if not constant.outputs:
        graph.unused.add(constant)


def _allow_initializer(node: ir.Node, ctx: Context) -> bool:
    if not ctx.allow("Constant node made an initializer", node):
        return False
    ctx.count("Constant nodes made initializers")
    return True


def _correct_declarations(graph: ir.Graph, ctx: Context) -> bool:
    changed = False
    inference = infer(graph)
    for wrong in inference.contradictions:
        tensor = wrong.tensor
        if not ctx.allow(f"correct '{tensor.name}' to {wrong.inferred}", tensor.producer or ""):
            continue
        ctx.count("declarations corrected")
        _declare(wrong, graph)
        changed = True
    return changed


def _declare(wrong: Contradiction, graph: ir.Graph) -> None:
    facts, tensor = wrong.inferred, wrong.tensor
    for scope in _giving_out(tensor, graph):
        scope.output_infos.pop(tensor, None)
    tensor.dtype = tensor.dtype if facts.dtype is None else facts.dtype
    tensor.shape, tensor.type = facts.shape, facts.kind or tensor.type


def _giving_out(tensor: ir.Variable, graph: ir.Graph) -> Iterator[ir.Graph]:
    yield from (scope for scope in (graph, *graph.subgraphs(recursive=True)) if tensor in scope.output_infos)
