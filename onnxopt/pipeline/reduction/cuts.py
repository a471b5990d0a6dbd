"""The ways in which a model is made smaller. Each is applied in a fork first, and here only where the failure stays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from onnxopt import ir
from onnxopt.errors import OnnxoptError
from onnxopt.ir.edit import detach, with_inner_nodes
from onnxopt.ir.sweep import drop_functions
from onnxopt.pipeline.reduction.branches import drop, inline, replace
from onnxopt.pipeline.reduction.known import Known

_SMALL = 64
"""Integers up to so many are likely to be a shape, axes or indices: as a constant they say more than as an input."""


class Unfit(OnnxoptError):
    """A change cannot be made here."""


class Change(Protocol):
    """One way to make a model smaller."""

    def apply(self, main: ir.Graph, known: Known) -> None:
        """Make the change, in place; the same one at every call on the same graph.

        Raises:
            Unfit: It cannot be made. The graph is of no use then.
        """


@dataclass(frozen=True)
class Without:
    """A scope without some of its nodes.

    What is left reads inputs of the model, or constants, where it read the outputs of those nodes. What those nodes
    read becomes an output of the model. In a subgraph, which must give out as much as before, Identity nodes make the
    outputs of inputs, or others take their place.
    """

    scope: ir.Graph
    nodes: Sequence[ir.Node]
    as_constants: bool = False
    """Whether the values that lose their producers become constants rather than inputs."""
    redirects: bool = False
    """Whether a subgraph gives out, in the place of an output that these nodes made, another value that it makes."""

    def apply(self, main: ir.Graph, known: Known) -> None:
        """Cut."""
        gone, inner = set(self.nodes), set(with_inner_nodes(self.nodes))
        left = [node for node in self.scope.nodes if node not in gone]
        if not left and self.scope is main:
            raise Unfit("no node would be left")
        bereft = [t for node in self.nodes for t in node.outputs if t.name and not inner.issuperset(t.outputs)]
        freed = [t for node in left for t in node.outputs if t.name and not inner.isdisjoint(t.outputs)]
        read = {tensor for tensor in main.inputs if tensor.outputs}
        detach(self.nodes)
        self.scope.nodes[:] = left
        if self.scope is main:
            kept = [tensor for tensor in main.outputs if tensor.producer is not None]
            give_out(main, [*kept, *freed], known)
        else:
            self._stand_for_outputs(main, known)
            bereft = [tensor for tensor in bereft if tensor.producer is None]
        for tensor in bereft:
            self._let_stand(main, tensor, known)
        main.inputs = [tensor for tensor in main.inputs if tensor.outputs or tensor not in read]

    def _stand_for_outputs(self, main: ir.Graph, known: Known) -> None:
        orphans = [t for t in dict.fromkeys(self.scope.outputs) if not t.inputs and isinstance(t, ir.Variable)]
        orphans = [tensor for tensor in orphans if tensor not in self.scope.inputs and tensor not in main.inputs]
        if self.redirects:
            for tensor in orphans:
                other = self._other_output(tensor, known)
                self.scope.outputs[:] = [other if one is tensor else one for one in self.scope.outputs]
            return
        with ir.edit(main) as edit:
            for tensor in orphans:
                stand_in = ir.Variable(edit.fresh(tensor.name), tensor.dtype, tensor.shape, tensor.type)
                known.copy(tensor, stand_in)
                self.scope.nodes.append(ir.Node("Identity", edit.fresh("Identity"), {}, [stand_in], [tensor]))
                self._let_stand(main, stand_in, known)

    def _other_output(self, tensor: ir.Tensor, known: Known) -> ir.Tensor:
        """What the scope can give out in the place of one of its outputs: of the same type, the last there is."""
        facts = known.look(tensor)
        outputs: list[ir.Tensor] = [made for node in reversed(self.scope.nodes) for made in node.outputs if made.name]
        for made in outputs:
            if made not in self.scope.outputs and facts is not None and known.look(made) == facts:
                return made
        raise Unfit(f"nothing else is like '{tensor.name}'")

    def _let_stand(self, main: ir.Graph, tensor: ir.Tensor, known: Known) -> None:
        """Make a constant or an input of a value that nothing makes any more."""
        assert isinstance(tensor, ir.Variable)
        value = known.value(tensor)
        is_tensor = isinstance(value, np.ndarray)
        is_shape = is_tensor and value.dtype.kind in "iu" and value.size <= _SMALL
        is_odd = is_tensor and value.dtype.kind == "f" and not np.isfinite(value).all()  # data of a user has none of it
        if is_tensor and (is_odd or is_shape != self.as_constants):
            tensor.__dict__.pop("info", None)
            tensor.to_constant(np.array(value, object) if value.dtype.kind == "U" else np.array(value))
        elif known.describe(tensor):
            main.inputs.append(tensor)
        else:
            raise Unfit(f"nothing is known of '{tensor.name}'")


@dataclass(frozen=True)
class Bypass:
    """Some nodes of a scope are left out, and who read their output reads an input of theirs of the same type."""

    scope: ir.Graph
    nodes: Sequence[ir.Node]

    def apply(self, main: ir.Graph, known: Known) -> None:
        """Rewire."""
        for node in reversed(self.nodes):
            made = [tensor for tensor in node.outputs if tensor.name]
            used = [tensor for tensor in made if tensor.outputs or tensor in self.scope.outputs] or made[:1]
            for old in used:
                new = _like(old, node, known)
                if new is None:
                    raise Unfit(f"no input of {node.label} is like '{old.name}'")
                self._rewire(main, old, new)
        detach(self.nodes)
        gone = set(self.nodes)
        self.scope.nodes[:] = [node for node in self.scope.nodes if node not in gone]
        if self.scope is main:
            give_out(main, [tensor for tensor in main.outputs if tensor.producer is not None], known)

    def _rewire(self, main: ir.Graph, old: ir.Tensor, new: ir.Tensor) -> None:
        replace(old, new)
        if old not in self.scope.outputs:
            return
        is_made_here = new.producer in self.scope.nodes and new not in self.scope.outputs
        if is_made_here:
            self.scope.outputs[:] = [new if tensor is old else tensor for tensor in self.scope.outputs]
        elif self.scope is not main:
            raise Unfit(f"'{new.name}' cannot be an output in the place of '{old.name}'")


@dataclass(frozen=True)
class Inlined:
    """One branch of an If in the place of it."""

    scope: ir.Graph
    node: ir.Node
    attribute: str

    def apply(self, main: ir.Graph, known: Known) -> None:
        """Inline."""
        inline(main, self.scope, {self.node: self.node.attrs[self.attribute]})


@dataclass(frozen=True)
class Stubbed:
    """A branch that gives out what the If gave, from inputs of the model."""

    node: ir.Node
    attribute: str

    def apply(self, main: ir.Graph, known: Known) -> None:
        """Replace the nodes of the branch."""
        branch: ir.Graph = self.node.attrs[self.attribute]
        results = list(self.node.outputs)
        if len(results) != len(branch.outputs) or len(branch.nodes) <= len(results):
            raise Unfit("it would not be smaller")
        drop(branch)
        branch.outputs.clear()
        branch.constants.clear()
        with ir.edit(main) as edit:
            for result in results:
                outer = ir.Variable(edit.fresh(f"{result.name}_given"), result.dtype, result.shape, result.type)
                inner = ir.Variable(edit.fresh(result.name), result.dtype, result.shape, result.type)
                known.copy(result, outer)
                known.copy(result, inner)
                if not known.describe(outer) or not known.describe(inner):
                    raise Unfit(f"nothing is known of '{result.name}'")
                main.inputs.append(outer)
                branch.outputs.append(inner)
                branch.nodes.append(ir.Node("Identity", edit.fresh("Identity"), {}, [outer], [inner]))


@dataclass(frozen=True)
class Hidden:
    """The model gives some of its outputs out no longer."""

    outputs: Sequence[ir.Tensor]

    def apply(self, main: ir.Graph, known: Known) -> None:
        """Take them off the list."""
        gone = set(self.outputs)
        left = [tensor for tensor in main.outputs if tensor not in gone]
        if not left:
            raise Unfit("no output would be left")
        main.outputs[:] = left
        main.output_infos = {tensor: info for tensor, info in main.output_infos.items() if tensor not in gone}


@dataclass(frozen=True)
class Tidied:
    """The model without inputs and initializers that nobody reads."""

    def apply(self, main: ir.Graph, known: Known) -> None:
        """Drop them."""
        given_out = set(main.outputs)
        main.inputs = [tensor for tensor in main.inputs if tensor.outputs or tensor in given_out]
        for scope in ir.every_graph(main):
            scope.unused.clear()
            scope.stray_infos.clear()
            scope.constants[:] = [constant for constant in scope.constants if constant.outputs]


@dataclass(frozen=True)
class Dropped:
    """The model without some functions that nobody calls."""

    functions: Sequence[ir.Function]

    def apply(self, main: ir.Graph, known: Known) -> None:
        """Drop them."""
        gone = drop_functions(main, self.functions.__contains__)
        if len(gone) < len(self.functions):
            raise Unfit("one of them is called")


def give_out(main: ir.Graph, tensors: Iterable[ir.Tensor], known: Known) -> None:
    """Make these the outputs of the model; where there are none, what nobody reads.

    Raises:
        Unfit: One of them has no known type, or there is none.
    """
    found: list[Any] = list(dict.fromkeys(tensors))
    if not found:
        found = [t for node in main.nodes for t in node.outputs if t.name and not t.outputs][-1:]
    old = set(main.outputs)
    for tensor in found:
        if tensor not in old and not known.describe(tensor):
            raise Unfit(f"nothing is known of '{tensor.name}'")
    if not found:
        raise Unfit("no output would be left")
    main.outputs = found
    main.output_infos = {tensor: info for tensor, info in main.output_infos.items() if tensor in set(found)}


def _like(old: ir.Tensor, node: ir.Node, known: Known) -> ir.Tensor | None:
    """An input of the node that has the type and the shape of one of its outputs; the first where nothing is known."""
    variables = [tensor for tensor in node.inputs if isinstance(tensor, ir.Variable) and tensor.name]
    facts = known.look(old)
    if facts is None:
        return variables[0] if variables else None
    return next((tensor for tensor in variables if known.look(tensor) == facts), None)
