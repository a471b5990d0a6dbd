"""Writing the decision down: types of tensors and attributes, and a Cast wherever a reader wants the other type."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from onnxopt import ir
from onnxopt.ir import dtypes
from onnxopt.linear.match import constant_of
from onnxopt.quantization.narrow.limits import narrow_dtype
from onnxopt.quantization.narrow.operators import VALUED
from onnxopt.quantization.narrow.units import Place, Unit, Units
from onnxopt.quantization.narrow.values import narrow_values


class Rewriting:
    """One conversion.

    Args:
        units: Of the model.
        chosen: Those that become narrow.
        io: Inputs and outputs of the main graph that become narrow.
        edit: Of the main graph.
    """

    def __init__(self, units: Units, chosen: set[Unit], io: set[ir.Tensor], edit: ir.Edit) -> None:
        self._units, self._chosen, self._io, self._edit = units, chosen, io, edit
        self._dtype = narrow_dtype(units.type_)
        self._narrow: set[ir.Tensor] = set()
        """Tensors that are narrow from now on, or were."""
        self._twins: dict[tuple[ir.Tensor, bool], ir.Tensor] = {}
        """The same value in the narrow (True) or wide type."""
        self._fronts: defaultdict[ir.Graph, list[ir.Node]] = defaultdict(list)
        self.casts = 0
        """Casts that were inserted."""

    def run(self) -> None:
        """Edit the graph; `finish` follows once the session of edits is over."""
        wants = self._wants()
        self._convert_constants(wants)
        for unit in self._chosen:
            if unit.node.is_op(*VALUED):
                self._convert_value(unit.node)
        self._declare()
        for place, narrow in wants:
            if self._is_narrow(place.tensor) is not narrow:
                self._put(place, narrow)

    def finish(self) -> None:
        """Put the Casts of inputs in front, and drop those that do nothing now."""
        for scope, nodes in self._fronts.items():
            scope.nodes[:0] = nodes
        with ir.edit(self._units.graph) as edit:
            self._drop_casts(edit)

    def _wants(self) -> list[tuple[Place, bool]]:
        found = [(place, unit in self._chosen) for unit in self._units.all for place in unit.reads]
        graph = self._units.graph
        return found + [(place, place.holder is graph and place.tensor in self._io) for place in self._units.wide]

    def _is_narrow(self, tensor: ir.Tensor) -> bool:
        return tensor in self._narrow

    def _convert_constants(self, wants: list[tuple[Place, bool]]) -> None:
        """Those that only narrow readers have; others read what they read before."""
        of_each: dict[ir.Constant, set[bool]] = {}
        for place, narrow in wants:
            if isinstance(place.tensor, ir.Constant):
                of_each.setdefault(place.tensor, set()).add(narrow)
        for constant, types in of_each.items():
            if types == {True}:
                constant.to_constant(narrow_values(constant, self._dtype))
                self._narrow.add(constant)
                self._edit.changed = True

    def _convert_value(self, node: ir.Node) -> None:
        if node.op == "Constant":
            source = constant_of(node.outputs[0])
        else:
            source = node.attr("value") or ir.Constant("", np.zeros(1, np.float32))
        for name in ("value", "value_float", "value_floats"):
            node.attrs.pop(name, None)
            if node.attr_shells:
                node.attr_shells.pop(name, None)
        assert isinstance(source, ir.Constant)
        node.attrs["value"] = ir.Constant("", narrow_values(source, self._dtype))

    def _declare(self) -> None:
        graph = self._units.graph
        for tensor in graph.inputs:
            if tensor in self._io and isinstance(tensor, ir.Variable):
                self._become_narrow(tensor)
                if tensor.default is not None:
                    tensor.default.to_constant(narrow_values(tensor.default, self._dtype))
        written = {tensor for unit in self._chosen for tensor in unit.writes}
        outputs = {tensor for tensor in graph.outputs if tensor.producer is not None}
        for tensor in written:
            if tensor not in outputs or tensor in self._io:
                self._become_narrow(tensor)
        for tensor in dict.fromkeys(graph.outputs):
            if tensor in outputs and (tensor in written) is not (tensor in self._io):
                self._produce_beside(tensor, narrow=tensor in written)

    def _become_narrow(self, tensor: ir.Variable) -> None:
        tensor.dtype = self._dtype
        self._narrow.add(tensor)
        self._edit.changed = True

    def _produce_beside(self, output: ir.Variable, *, narrow: bool) -> None:
        """An output of the model keeps its name: what the node computes is another tensor, `narrow` or wide."""
        node: ir.Node = output.producer
        inner = self._new(output, narrow)
        for index, tensor in enumerate(node.outputs):
            if tensor is output:
                node.outputs[index] = inner
        self._edit.insert_after(node, self._cast(inner, output, not narrow))
        if narrow:
            self._narrow.add(inner)
        else:
            self._become_narrow(output)
        self._twins[output, narrow] = inner
        self._edit.changed = True

    def _twin(self, tensor: ir.Tensor, narrow: bool) -> ir.Tensor:
        """The value of a tensor in the other type."""
        if (tensor, narrow) not in self._twins:
            self._twins[tensor, narrow] = self._make_twin(tensor, narrow)
        return self._twins[tensor, narrow]

    def _make_twin(self, tensor: ir.Tensor, narrow: bool) -> ir.Tensor:
        if isinstance(tensor, ir.Constant) and narrow:
            return ir.Constant(self._name(tensor, narrow), narrow_values(tensor, self._dtype))
        source, producer = tensor, tensor.producer
        if producer is not None and producer.is_op("Cast") and narrow:
            before = producer.inputs[0]
            dtype = self._dtype if self._is_narrow(before) else self._units.dtype(before)
            if dtype is not None and dtypes.same(dtype, self._dtype):
                return before  # type: ignore[no-any-return]
            if dtype is not None and dtype.kind in "iub":
                source = before
        twin = self._new(tensor, narrow)
        cast = self._cast(source, twin, narrow)
        if producer is None:
            self._fronts[self._home(tensor)].append(cast)
        else:
            self._edit.insert_after(producer, cast)
        return twin

    def _new(self, tensor: ir.Tensor, narrow: bool) -> ir.Variable:
        shape = list(tensor.shape) if tensor.shape is not None else None
        return ir.Variable(self._name(tensor, narrow), self._dtype if narrow else np.float32, shape)

    def _name(self, tensor: ir.Tensor, narrow: bool) -> str:
        return self._edit.fresh(f"{tensor.name}_{self._units.type_ if narrow else 'float32'}")

    def _cast(self, source: ir.Tensor, made: ir.Tensor, narrow: bool) -> ir.Node:
        self.casts += 1
        to = dtypes.to_onnx(self._dtype if narrow else np.float32)
        return ir.Node("Cast", self._edit.fresh(f"{made.name}_Cast"), {"to": to}, [source], [made])

    def _home(self, tensor: ir.Tensor) -> ir.Graph:
        """The graph that a tensor without a node is an input of."""
        return next((scope for scope in ir.every_graph(self._units.graph) if tensor in scope.inputs), self._units.graph)

    def _put(self, place: Place, narrow: bool) -> None:
        if isinstance(place.holder, ir.Node):
            self._edit.replace_input(place.holder, place.index, self._twin(place.tensor, narrow))
            return
        found = self._twin(place.tensor, narrow)
        is_new = isinstance(found, ir.Constant) or (
            found.producer is not None and found.producer not in self._units.scope_of
        )
        if not is_new:  # it may lie outside, or be another output: an output of a body is made in it, for it alone
            inside = self._new(place.tensor, narrow)
            node = ir.Node("Identity", self._edit.fresh(f"{inside.name}_Identity"), {}, [found], [inside])
            self._edit.insert_after(place.tensor.producer, node)
            found = inside
        place.holder.outputs[place.index] = found
        self._edit.changed = True

    def _drop_casts(self, edit: ir.Edit) -> None:
        """Casts to the type that the tensor has by now, and those that nobody reads any more."""
        ours = (dtypes.to_onnx(np.float32), dtypes.to_onnx(self._dtype))
        for node in self._units.scope_of:
            if not node.is_op("Cast") or node.attr("to") not in ours:
                continue
            source, made = node.inputs[0], node.outputs[0]
            is_same = self._is_narrow(source) and node.attr("to") == dtypes.to_onnx(self._dtype)
            if is_same and not edit.is_output(made):
                edit.replace_all_uses(made, source)
            if not edit.is_used(made):
                edit.remove(node)
