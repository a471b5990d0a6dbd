"""Ensembles of a model as TreeEnsemble, and its opset of ai.onnx.ml raised to the one that has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import helper

from onnxopt import ir
from onnxopt.ir.edit import Edit
from onnxopt.ir.exporter import opset_imports
from onnxopt.opsets.ir_version import needed_ir_version
from onnxopt.pipeline.base import Context
from onnxopt.trees.attributes import stored_size
from onnxopt.trees.compacting import NEWER, OLDER, Found, replace_attributes
from onnxopt.trees.forest import Malformed
from onnxopt.trees.respelling import LABEL, ML, SCORES, Follower, Respelling, respell
from onnxopt.trees.writing import write_older

_OPSET = 5
_TYPES = {LABEL: None, "sign": None, "number": np.int64, SCORES: np.float32}
"""Of tensors; RAW has that of the features."""


def raise_opset(edit: Edit, found: Sequence[Found], ctx: Context) -> set[Found]:
    """Make all ensembles of the main graph and its subgraphs TreeEnsembles, or none; return those made so."""
    main = edit.main
    older = [each for each in found if each.node.op in OLDER]
    if not older or (main.opset_of(ML) or 1) >= _OPSET:
        return set()
    planned = {each: respelling for each in older if (respelling := _respelled(each, ctx))}
    if obstacle := _obstacle(main, {each.node for each in planned}):
        ctx.refuse(f"no TreeEnsemble: {obstacle}", older[0].node)
        return set()
    before = sum(stored_size(each.node.attrs) for each in older)
    kept = sum(stored_size(write_older(each.node.op, each.ensemble, each.node.attrs)) for each in older)
    after = sum(respelling.size() for respelling in planned.values())
    if after >= min(before, kept):
        ctx.refuse(f"no TreeEnsemble: {after} bytes instead of {min(before, kept)}", older[0].node)
        return set()
    number = f"{len(planned)} ensembles" if len(planned) > 1 else "an ensemble"
    if not ctx.allow(f"{number} as TreeEnsemble of {ML} {_OPSET}: {before} bytes are {after}", older[0].node):
        return set()
    for each, respelling in planned.items():
        _rewrite(edit, each, respelling)
        ctx.count("ensembles")
        ctx.count("nodes of trees removed", each.splits)
    _import(main)
    return set(planned)


def _respelled(found: Found, ctx: Context) -> Respelling | None:
    try:
        return respell(found.ensemble, found.feature)
    except Malformed as reason:
        ctx.refuse(f"no TreeEnsemble: {reason}", found.node)
        return None


def _obstacle(main: ir.Graph, planned: set[ir.Node]) -> str | None:
    """Why the opset cannot be raised."""
    if any(node.domain == ML for function in main.functions for node in ir.every_node(function)):
        return f"a function has operators of {ML}, of which the model can import one version"
    for scope in (main, *main.subgraphs(recursive=True)):
        for node in scope.nodes:
            if node.domain == ML and node.op in OLDER and node not in planned:
                return f"{node.label} stays as it is, and no version of {ML} has both"
            if node.domain == ML and node.op == "LabelEncoder" and (main.opset_of(ML) or 1) < 2:
                return f"{node.label} is another operator since opset 2"
    return None


def _rewrite(edit: Edit, found: Found, respelling: Respelling) -> None:
    """The node in place, and those that follow it.

    Types are declared: onnx 1.23 ends the process where it infers shapes of a LinearClassifier that reads a tensor of a
    type not known, and does not know that of a Scaler before the TreeEnsemble.
    """
    node, source = found.node, found.node.inputs[0]
    if isinstance(source, ir.Variable) and source.dtype is None:
        source.dtype = found.feature
    outputs = list(node.outputs)
    known: dict[str, ir.Tensor] = (
        {SCORES: outputs[-1]} if node.op == OLDER[1] else dict(zip((LABEL, SCORES), outputs, strict=False))
    )
    known = {role: output for role, output in known.items() if output.name}
    prefix = next((output.name for output in outputs if output.name), "trees")

    def tensor(role: str) -> ir.Tensor:
        if role not in known:
            known[role] = ir.Variable(edit.fresh(f"{prefix}_{role}"), _TYPES.get(role, found.feature))
        return known[role]

    del node.outputs[:]
    node.op = NEWER
    replace_attributes(edit, node, respelling.attrs)
    node.outputs.append(tensor(respelling.output))
    anchor = node
    for follower in respelling.followers:
        if LABEL in follower.outputs and LABEL not in known and SCORES not in follower.outputs:
            continue
        after = _node(edit, node, follower, tensor)
        edit.insert_after(anchor, after)
        anchor = after


def _node(edit: Edit, node: ir.Node, follower: Follower, tensor: Callable[[str], ir.Tensor]) -> ir.Node:
    inputs: list[ir.Tensor] = [
        tensor(source) if isinstance(source, str) else ir.Constant(edit.fresh(f"{node.name or 'trees'}_labels"), source)
        for source in follower.inputs
    ]
    name = edit.fresh(f"{node.name}_{follower.op}") if node.name else ""
    outputs = [tensor(role) for role in follower.outputs]
    return ir.Node(follower.op, name, dict(follower.attrs), inputs, outputs, follower.domain or None)


def _import(main: ir.Graph) -> None:
    for scope in (main, *main.subgraphs(recursive=True)):
        others = [entry for entry in opset_imports(scope) if entry.domain != ML]
        scope.import_domains = [*others, helper.make_opsetid(ML, _OPSET)]
    if main.ir_version is not None:
        needed = max(main.ir_version, needed_ir_version(main))
        for scope in ir.every_graph(main):
            scope.ir_version = needed
