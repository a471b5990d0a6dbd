"""`inline-functions`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from onnx import AttributeProto

from onnxopt import ir
from onnxopt.ir.edit import detach, with_inner_nodes
from onnxopt.ir.exporter import opset_imports
from onnxopt.ir.node import copy_attribute
from onnxopt.ir.purity import Purity
from onnxopt.ir.schema import find_schema
from onnxopt.ir.splice import Binding, Names, copy_nodes, given_out
from onnxopt.ir.sweep import drop_functions
from onnxopt.pipeline.base import Context, Pass

_ENGINES = "com.microsoft"
"""How the domains begin of which operators an engine knows by name, whether they have a body or not."""


@dataclass(frozen=True)
class InlineFunctions(Pass):
    """Put the nodes of a local function in the place of each call, and drop it when nobody calls it any more.

    In every scope; calls in the bodies that come in, and in functions that stay, as well. Attributes of the call, or
    else the defaults of the function, take the place of references to them. The outputs of the call keep their names;
    nodes are named after the call, `call/node`. What a function declares of its values is dropped, since other calls
    may have other types; `infer-shapes` finds them.

    Refused: a function that calls itself; one that imports another version of an operator set than the model, where
    any operator that it uses differs between the two; a call that gives more inputs, or a graph as attribute; an
    omitted input that the function gives out.
    """

    only: tuple[str, ...] = ("*",)
    """Functions to inline: patterns, as of file names, for `name` or `domain.name`."""
    skip: tuple[str, ...] = ()
    """Functions to leave, by such patterns."""
    fewer_nodes: bool = False
    """Only functions that take fewer nodes inlined, being called once or of one node; none that an engine may have a
    kernel of its own for, by its domain (com.microsoft)."""

    def run(self, graph: ir.Graph, ctx: Context) -> bool:
        """Edit `graph` in place; return whether anything changed."""
        chosen = {function for function in graph.functions if self._chooses(function)}
        if chosen and self.fewer_nodes:
            chosen = _taking_fewer(graph, chosen, ctx)
        elif graph.functions and not chosen:
            names = ", ".join(sorted(_label(function) for function in graph.functions))
            ctx.warn(f"no function is chosen; there are: {names}")
        if not chosen:
            return False
        inlining = _Inlining(graph, chosen, ctx)
        changed = inlining.root(graph)
        for function in graph.functions:
            if function not in chosen or function in inlining.refused:
                changed |= inlining.root(function)
        gone = drop_functions(graph, lambda function: function in inlining.inlined and function not in inlining.refused)
        return changed or bool(gone)

    def _chooses(self, function: ir.Function) -> bool:
        def matches(patterns: tuple[str, ...]) -> bool:
            return any(fnmatchcase(name, each) for name in (function.name, _label(function)) for each in patterns)

        return matches(self.only) and not matches(self.skip)


def _taking_fewer(graph: ir.Graph, chosen: set[ir.Function], ctx: Context) -> set[ir.Function]:
    """The functions of which the bodies, one for each call, have fewer nodes than one body and the calls.

    c n < c + n holds where c or n is 1.
    """
    purity = Purity(graph)
    calls: Counter[ir.Function] = Counter()
    for node in ir.every_node(graph):
        called = purity.called(node)
        if called in chosen:
            calls[called] += 1
    found = {function for function, count in calls.items() if count == 1 or _has_one_node(function)}
    for function in sorted(found, key=_label):
        if function.domain.startswith(_ENGINES):
            ctx.refuse(f"an engine may have a kernel of its own for '{_label(function)}'", _label(function))
            found.discard(function)
    return found


def _has_one_node(function: ir.Function) -> bool:
    return len(function.nodes) == 1 and not any(True for _ in function.nodes[0].subgraphs())


def _label(function: ir.Function) -> str:
    return f"{function.domain}.{function.name}" + (f":{function.overload}" if function.overload else "")


class _Inlining:
    def __init__(self, graph: ir.Graph, chosen: set[ir.Function], ctx: Context) -> None:
        self.graph, self.chosen, self.ctx = graph, chosen, ctx
        self.purity = Purity(graph)
        self.cyclic = _calling_themselves(graph, self.purity)
        self.inlined: set[ir.Function] = set()
        self.refused: set[ir.Function] = set()

    def root(self, root: ir.Graph) -> bool:
        """Inline the calls in the main graph or a function, and in its subgraphs."""
        work = _Root(root, self)
        for scope in (root, *root.subgraphs(recursive=True)):
            work.scope(scope)
        detach(work.dead)
        return bool(work.dead)

    def obstacle(self, call: ir.Node, function: ir.Function, scope: ir.Graph) -> str | None:
        """Why a call cannot be replaced by the body, its outputs apart."""
        if function in self.cyclic:
            return "the function calls itself"
        if len(call.inputs) > len(function.inputs) or len(call.outputs) > len(function.outputs):
            return f"the call has more inputs or outputs than '{_label(function)}'"
        if any(isinstance(value, ir.Graph) for value in call.attrs.values()):
            return "the call gives a graph as attribute"
        given = {tensor for tensor, value in zip(function.inputs, call.inputs, strict=False) if value.name}
        for output, tensor in zip(call.outputs, function.outputs, strict=False):
            if output.name and tensor in set(function.inputs) - given:
                return f"the function gives out its input '{tensor.name}', which the call omits"
        return self._conflict(function, scope)

    def _conflict(self, function: ir.Function, scope: ir.Graph) -> str | None:
        """Where an operator of the body means something else in the operator sets that the model imports."""
        for node in with_inner_nodes(function.nodes):
            theirs, ours = function.opset_of(node.domain), scope.opset_of(node.domain)
            if self.purity.called(node) is not None or ours is None or theirs is None or theirs == ours:
                continue
            schemas = [find_schema(node.op, node.domain, version) for version in (theirs, ours)]
            since = {None if schema is None else schema.since_version for schema in schemas}
            if len(since) > 1 or None in since:
                domain = f" of domain '{node.domain}'" if not node.is_standard else ""
                return f"the function has {node.op} of opset {theirs}{domain}, and the model imports {ours}"
        return None


class _Root:
    """The main graph or a function, with its subgraphs."""

    def __init__(self, root: ir.Graph, inlining: _Inlining) -> None:
        self.root, self.inlining = root, inlining
        self.ctx, self.purity = inlining.ctx, inlining.purity
        self.dead: list[ir.Node] = []
        self.given: Counter[ir.Tensor] = given_out(root)
        self._names: Names | None = None

    @property
    def names(self) -> Names:
        if self._names is None:
            self._names = Names(self.root)
        return self._names

    def scope(self, scope: ir.Graph) -> None:
        """Inline the calls in one scope, and those that come in with them, in subgraphs too."""
        count = len(self.dead)
        kept: list[ir.Node] = []
        pending = scope.nodes[::-1]
        new: set[ir.Node] = set()
        while pending:
            node = pending.pop()
            function = self.purity.called(node)
            body = None if function is None else self._inline(node, function, scope)
            if body is not None:
                new.update(body)
                pending += reversed(body)
                continue
            kept.append(node)
            if node in new:
                for subgraph in node.subgraphs(recursive=True):
                    self.scope(subgraph)
        if len(self.dead) > count:
            scope.nodes[:] = kept

    def _inline(self, call: ir.Node, function: ir.Function, scope: ir.Graph) -> list[ir.Node] | None:
        if function not in self.inlining.chosen:
            return None
        given = dict(zip(function.inputs, call.inputs, strict=False))
        values = [given.get(tensor, tensor) for tensor in function.outputs]
        reason = self.inlining.obstacle(call, function, scope)
        reason = reason or Binding(call.outputs, values, self.given).obstacle(set(function.nodes), scope.opset)
        if reason is not None:
            self.ctx.refuse(reason, call)
        if reason is not None or not self.ctx.allow(f"replaced by the body of '{_label(function)}'", call):
            self.inlining.refused.add(function)
            return None
        self.inlining.inlined.add(function)
        self.names.drop([call.name])
        nodes = self._body(call, function, scope)
        list.clear(call.outputs)
        self.dead.append(call)
        return nodes

    def _body(self, call: ir.Node, function: ir.Function, scope: ir.Graph) -> list[ir.Node]:
        tensors: dict[ir.Tensor, ir.Tensor] = dict(zip(function.inputs, call.inputs, strict=False))
        for tensor in function.inputs[len(call.inputs) :]:
            tensors[tensor] = ir.Variable.empty()
        for constant in _constants(function):
            tensors[constant] = constant.copy()
            tensors[constant].name = self.names.fresh(constant.name)
        nodes = copy_nodes(function, tensors, self.names, prefix=f"{call.name}/" if call.name else "")
        for node in with_inner_nodes(nodes):
            _resolve(node, call, function)
            for tensor in node.outputs:
                if tensor.name:
                    tensor.info, tensor.dtype, tensor.shape, tensor.type = None, None, None, "tensor_type"
            for subgraph in node.subgraphs():
                subgraph.opset, subgraph.import_domains = scope.opset, scope.import_domains
                self.given.update(subgraph.outputs)
        _import(function, scope)
        values = [tensors.get(tensor, tensor) for tensor in function.outputs]
        return nodes + Binding(call.outputs, values, self.given).apply(set(nodes), scope, self.names)


def _constants(function: ir.Function) -> Iterator[ir.Constant]:
    """Constants that a pass put into a function, each once."""
    read = {tensor for node in with_inner_nodes(function.nodes) for tensor in node.inputs}
    read.update(function.outputs)
    declared = {constant for scope in function.subgraphs(recursive=True) for constant in scope.constants}
    return (tensor for tensor in read - declared if isinstance(tensor, ir.Constant))


def _resolve(node: ir.Node, call: ir.Node, function: ir.Function) -> None:
    """Put values in the place of references to the function's attributes; one without a value is left out."""
    for name, value in list(node.attrs.items()):
        if not isinstance(value, ir.Node.AttributeRef):
            continue
        shells = dict(node.attr_shells or {})
        shells.pop(name, None)
        giver = call if value.name in call.attrs else function
        found = giver.attrs.get(value.name)
        if found is None:
            del node.attrs[name]
        else:
            node.attrs[name] = copy_attribute(found, None)
            if (shell := (giver.attr_shells or {}).get(value.name)) is not None:
                shells[name] = AttributeProto.FromString(shell.SerializeToString())
                if shell.name:
                    shells[name].name = name
        node.attr_shells = shells or None


def _import(function: ir.Function, scope: ir.Graph) -> None:
    """Let the model import what the function does and the model does not."""
    if scope.import_domains is None:
        scope.import_domains = opset_imports(scope)
    known = {entry.domain for entry in scope.import_domains} | {"", "ai.onnx"}
    used = {node.domain for node in with_inner_nodes(function.nodes)}
    scope.import_domains += [
        entry for entry in function.import_domains or () if entry.domain in used and entry.domain not in known
    ]


def _calling_themselves(graph: ir.Graph, purity: Purity) -> set[ir.Function]:
    """Functions that call themselves, directly or through others, which ONNX forbids."""
    calls = {
        function: {called for node in with_inner_nodes(function.nodes) if (called := purity.called(node)) is not None}
        for function in graph.functions
    }
    reached = {function: set(called) for function, called in calls.items()}
    grew = True
    while grew:
        grew = False
        for found in reached.values():
            more = {other for called in found for other in reached.get(called, ())} - found
            found |= more
            grew |= bool(more)
    return {function for function, found in reached.items() if function in found}
