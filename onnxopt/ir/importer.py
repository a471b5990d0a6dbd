"""ModelProto -> Graph. Nothing of the file is lost, and the cost is linear, nested subgraphs included."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto

from onnxopt.errors import BadModel
from onnxopt.ir.attributes import read_attribute
from onnxopt.ir.declared import facts, read_props
from onnxopt.ir.graph import Function, Graph
from onnxopt.ir.links import Links
from onnxopt.ir.node import DEFAULT_DOMAINS, Node
from onnxopt.ir.tensor import Constant, Tensor, Variable
from onnxopt.ir.values import InlineValues, SparseValues, Values

ReadValues = Callable[[TensorProto], Values]
_LISTED_ARE_CONSTANT = 4
"""Below this IR version every initializer must be listed as an input, and is constant all the same (IR.md)."""


def inline_values(tensor: TensorProto) -> Values:
    """The values of a tensor whose data are in the model itself."""
    if tensor.data_location == TensorProto.EXTERNAL:
        raise BadModel(f"initializer '{tensor.name}' has external data; load the model from its file")
    return InlineValues(tensor)


def from_proto(model: ModelProto, read_values: ReadValues = inline_values) -> Graph:
    """The graph of a model.

    The proto must not be changed afterwards: values stay in it until they are read.

    Args:
        model: A model; unsorted nodes are accepted.
        read_values: Where to find the data of a TensorProto.

    Raises:
        BadModel: No graph, a value produced twice, one that nothing produces, or data that do not fit their shape.
    """
    if not model.HasField("graph"):
        raise BadModel("not an ONNX model: it has no graph")
    with gc_paused():
        return _Importer(model, read_values).main()


@contextmanager
def gc_paused() -> Iterator[None]:
    """Building many objects that all live on makes the collector scan them again and again: 40 % of an import."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Scope:
    """The tensors that a graph sees: its own, then those of the graphs around it."""

    def __init__(self, outer: _Scope | None = None) -> None:
        self.own: dict[str, Tensor] = {}
        self.outer = outer

    def find(self, name: str) -> Tensor | None:
        scope: _Scope | None = self
        while scope is not None:
            tensor = scope.own.get(name)
            if tensor is not None:
                return tensor
            scope = scope.outer
        return None


class _Importer:
    def __init__(self, model: ModelProto, read_values: ReadValues) -> None:
        self.model = model
        self.read_values = read_values
        self.functions: list[Function] = []
        self.opset = default_opset(model.opset_import)
        self.imports: list[OperatorSetIdProto] = list(model.opset_import)

    def main(self) -> Graph:
        graph = self.graph(self.model.graph, None)
        for field, value in self.model.ListFields():
            if field.name not in ("graph", "functions", "opset_import"):
                _copy_field(field, value, graph.model)
        for proto in self.model.functions:
            self.functions.append(self.function(proto))
        return graph

    def graph(self, proto: GraphProto, outer: _Scope | None) -> Graph:
        graph = Graph(
            name=proto.name, doc_string=proto.doc_string, opset=self.opset, import_domains=self.imports,
            ir_version=self.model.ir_version,
        )  # fmt: skip
        graph._functions = self.functions
        graph.quantization_annotation = list(proto.quantization_annotation)
        graph.metadata_props = {entry.key: entry.value for entry in proto.metadata_props}
        for field, value in proto.ListFields():
            if field.name in ("name", "doc_string"):
                _copy_field(field, value, graph.shell)
        scope = _Scope(outer)
        self._initializers(proto, graph, scope)
        self._inputs(proto, graph, scope)
        infos = self._nodes(proto.node, proto.value_info, graph, scope)
        self._outputs(proto, graph, scope)
        graph.stray_infos = [info for name, many in infos.items() for info in _declare(scope.own.get(name), many)]
        return graph

    def _initializers(self, proto: GraphProto, graph: Graph, scope: _Scope) -> None:
        for tensor in proto.initializer:
            constant = Constant(tensor.name, self.read_values(tensor))
            read_props(tensor, constant)
            _add_initializer(constant, graph, scope)
        for sparse in proto.sparse_initializer:
            constant = Constant(sparse.values.name, SparseValues(sparse))
            read_props(sparse.values, constant)
            _add_initializer(constant, graph, scope)

    def _inputs(self, proto: GraphProto, graph: Graph, scope: _Scope) -> None:
        for info in proto.input:
            known = scope.own.get(info.name)
            graph.listed[info.name] = info if known else None
            if isinstance(known, Constant):
                if self.model.ir_version < _LISTED_ARE_CONSTANT:
                    continue
                graph.constants.remove(known)
                variable = _variable(info.name, info)
                variable.default = known
            elif known is not None:
                raise BadModel(f"input '{info.name}' is listed twice")
            else:
                variable = _variable(info.name, info)
            scope.own[info.name] = variable
            graph.inputs.append(variable)

    def _nodes(
        self, protos: Iterable[NodeProto], value_infos: Iterable[ValueInfoProto], graph: Graph, scope: _Scope
    ) -> dict[str, list[ValueInfoProto]]:
        """Make the nodes; return the value infos that no node's output took."""
        infos: dict[str, list[ValueInfoProto]] = {}
        for info in value_infos:
            infos.setdefault(info.name, []).append(info)
        own = scope.own
        for proto in protos:  # outputs first, so that nodes may stand in any order
            for name in proto.output:
                if not name:
                    continue
                if name in own:
                    raise BadModel(
                        f"value '{name}' is produced twice, the second time by node '{proto.name}' ({proto.op_type})"
                    )
                many = infos.pop(name, None)
                own[name] = _variable(name, many.pop(0) if many else None)
                if many:
                    infos[name] = many
        for proto in protos:
            graph.nodes.append(self.node(proto, scope))
        graph.unused = {constant for constant in graph.constants if not constant.outputs}
        return infos

    def _outputs(self, proto: GraphProto, graph: Graph, scope: _Scope) -> None:
        for info in proto.output:
            tensor = scope.find(info.name)
            if tensor is None:
                raise BadModel(f"output '{info.name}' of graph '{proto.name}' is produced by no node")
            if tensor.info is None and isinstance(tensor, Variable):
                _read_info(tensor, info)
            else:
                graph.output_infos[tensor] = info
            graph.outputs.append(tensor)

    def node(self, proto: NodeProto, scope: _Scope) -> Node:
        node: Node = Node.__new__(Node)
        inputs, outputs = Links(node, "outputs"), Links(node, "inputs")
        has_domain = proto.HasField("domain")
        node.__dict__.update(
            op=proto.op_type, name=proto.name, attrs={}, inputs=inputs, outputs=outputs,
            domain=proto.domain if has_domain else None,
        )  # fmt: skip
        own = scope.own
        for name in proto.input:
            tensor = own.get(name) or (scope.find(name) if name else Variable(""))
            if tensor is None:
                raise BadModel(f"node '{proto.name}' ({proto.op_type}) reads '{name}', which nothing produces")
            list.append(inputs, tensor)
            list.append(tensor.outputs, node)
        for name in proto.output:
            tensor = own[name] if name else Variable("")
            list.append(outputs, tensor)
            list.append(tensor.inputs, node)
        for attribute in proto.attribute:
            read_attribute(attribute, node, lambda graph: self.graph(graph, scope), self.read_values)
        _read_rest(proto, node)
        return node

    def function(self, proto: FunctionProto) -> Function:
        imports = list(proto.opset_import)
        function = Function(
            proto.name, proto.domain, doc_string=proto.doc_string, opset=default_opset(imports), import_domains=imports,
            ir_version=self.model.ir_version, overload=proto.overload,
        )  # fmt: skip
        function._functions = self.functions
        function.metadata_props = {entry.key: entry.value for entry in proto.metadata_props}
        function.attrs = dict.fromkeys(proto.attribute)
        scope = _Scope()
        holder = Node(proto.name)
        for attribute in proto.attribute_proto:
            read_attribute(attribute, holder, lambda graph: self.graph(graph, scope), self.read_values)
        function.attrs.update(holder.attrs)
        function.attr_shells = holder.attr_shells
        for name in proto.input:
            scope.own[name] = _variable(name, None)
            function.inputs.append(scope.own[name])
        infos = self._nodes(proto.node, proto.value_info, function, scope)
        function.stray_infos = [info for name, many in infos.items() for info in _declare(scope.own.get(name), many)]
        for name in proto.output:
            tensor = scope.own.get(name)
            if tensor is None:
                raise BadModel(f"output '{name}' of function '{proto.name}' is produced by no node")
            function.outputs.append(tensor)
        return function


def _copy_field(field: Any, value: Any, out: Any) -> None:
    if field.is_repeated:
        getattr(out, field.name).extend(value)
    elif field.message_type is not None:
        getattr(out, field.name).CopyFrom(value)
    else:
        setattr(out, field.name, value)


def _add_initializer(constant: Constant, graph: Graph, scope: _Scope) -> None:
    if constant.name in scope.own:
        raise BadModel(f"initializer '{constant.name}' is given twice")
    scope.own[constant.name] = constant
    graph.constants.append(constant)


def _variable(name: str, info: ValueInfoProto | None) -> Variable:
    variable = Variable(name)
    if info is None:
        return variable
    _read_info(variable, info)
    return variable


def _read_info(variable: Variable, info: ValueInfoProto) -> None:
    variable.info = info
    variable.dtype, variable.shape, variable.type = facts(info.type)
    read_props(info, variable)


def _declare(tensor: Tensor | None, infos: list[ValueInfoProto]) -> list[ValueInfoProto]:
    """Give the first value info to a constant of that name; the rest belong to no tensor alone."""
    if isinstance(tensor, Constant) and tensor.info is None:
        tensor.info = infos.pop(0)
    return infos


def _read_rest(proto: NodeProto, node: Node) -> None:
    """Fields that few nodes have, and the presence of empty ones."""
    read_props(proto, node)
    if proto.overload:
        node.overload = proto.overload
    odd_name = not proto.name and proto.HasField("name")
    odd_doc = not proto.doc_string and proto.HasField("doc_string")
    odd_overload = not proto.overload and proto.HasField("overload")
    if proto.device_configurations or odd_name or odd_doc or odd_overload:
        node.shell = NodeProto(device_configurations=proto.device_configurations)
        for field, odd in (("name", odd_name), ("doc_string", odd_doc), ("overload", odd_overload)):
            if odd:
                setattr(node.shell, field, "")


def default_opset(imports: Iterable[OperatorSetIdProto]) -> int:
    """The version of the default domain; 1 where it is not imported (IR specification)."""
    return next((int(entry.version) for entry in imports if entry.domain in DEFAULT_DOMAINS), 1)
