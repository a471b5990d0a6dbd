"""ModelProto -> Graph. Nothing of the file is lost, and the cost is linear, nested subgraphs included."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto

from onnxopt.errors import BadModel
from onnxopt.ir.attributes import read_attribute
from onnxopt.ir.collector import gc_paused
from onnxopt.ir.declared import facts
from onnxopt.ir.fields import copy_fields, copy_presence, props_of, read_props, text
from onnxopt.ir.graph import Function, Graph
from onnxopt.ir.links import Links
from onnxopt.ir.node import DEFAULT_DOMAINS, Node
from onnxopt.ir.tensor import Constant, Tensor, Variable
from onnxopt.ir.value_infos import ValueInfos
from onnxopt.ir.values import InlineValues, SparseValues, Values

ReadValues = Callable[[TensorProto], Values]
_LISTED_ARE_CONSTANT = 4
"""Below this IR version every initializer must be listed as an input, and is constant all the same (IR.md)."""
_NO_OPSET = 2**31
"""onnx's own tables are asked with 32 bits."""


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


class _Scope:
    """The tensors that a graph sees: its own, then those of the graphs around it; and the opsets that they import."""

    def __init__(self, imports: list[OperatorSetIdProto], opset: int, outer: _Scope | None = None) -> None:
        self.own: dict[str, Tensor] = {}
        self.imports, self.opset = imports, opset
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
        self.ir_version: int | None = model.ir_version if model.HasField("ir_version") else None

    def main(self) -> Graph:
        imports = list(self.model.opset_import)
        graph = self.graph(self.model.graph, _Scope(imports, default_opset(imports)))
        copy_fields(self.model, graph.model, ("graph", "functions", "opset_import"))
        for proto in self.model.functions:
            self.functions.append(self.function(proto))
        return graph

    def subgraph(self, proto: GraphProto, outer: _Scope) -> Graph:
        return self.graph(proto, _Scope(outer.imports, outer.opset, outer))

    def graph(self, proto: GraphProto, scope: _Scope) -> Graph:
        graph = Graph(
            name=text(proto.name), doc_string=text(proto.doc_string), opset=scope.opset, import_domains=scope.imports,
            ir_version=self.ir_version,
        )  # fmt: skip
        graph._functions = self.functions
        graph.quantization_annotation = list(proto.quantization_annotation)
        graph.metadata_props = props_of(proto)
        copy_presence(proto, graph.shell, ("name", "doc_string"))
        self._initializers(proto, graph, scope)
        self._inputs(proto, graph, scope)
        infos = ValueInfos(proto.value_info)
        self._nodes(proto.node, infos, graph, scope)
        self._outputs(proto, graph, scope)
        graph.stray_infos = infos.strays(scope.own)
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
        listed_are_constant = (self.ir_version or _LISTED_ARE_CONSTANT) < _LISTED_ARE_CONSTANT
        defaults: set[Constant] = set()
        for info in proto.input:
            if info.name in graph.listed:
                raise BadModel(f"input '{info.name}' is listed twice")
            known = scope.own.get(info.name)
            graph.listed[info.name] = info if known else None
            if known and listed_are_constant:
                continue
            variable = _variable(info.name, info)
            if isinstance(known, Constant):
                variable.default = known
                defaults.add(known)
            scope.own[info.name] = variable
            graph.inputs.append(variable)
        if defaults:
            graph.constants = [constant for constant in graph.constants if constant not in defaults]

    def _nodes(self, protos: Iterable[NodeProto], infos: ValueInfos, graph: Graph, scope: _Scope) -> None:
        """Make the nodes. Their outputs take the value infos of their names out of `infos`."""
        own = scope.own
        for proto in protos:  # outputs first, so that nodes may stand in any order
            for name in proto.output:
                if not name:
                    continue
                if name in own:
                    raise BadModel(f"value '{name}' is produced twice, the second time by {_label(proto)}")
                own[name] = _variable(name, infos.take(name))
        for proto in protos:
            graph.nodes.append(self.node(proto, scope))
        graph.unused = {constant for constant in graph.constants if not constant.outputs}

    def _outputs(self, proto: GraphProto, graph: Graph, scope: _Scope) -> None:
        listed: dict[str, ValueInfoProto] = {}
        for info in proto.output:
            tensor = scope.find(info.name)
            if listed.setdefault(info.name, info) != info:
                raise BadModel(f"output '{info.name}' is listed twice, and declared in two ways")
            if tensor is None:
                raise BadModel(f"output '{info.name}' of graph '{proto.name}' is produced by no node")
            if tensor.info is None and isinstance(tensor, Variable) and info.name in scope.own:
                _read_info(tensor, info)
            elif tensor.info is not listed[info.name]:
                graph.output_infos[tensor] = info
            graph.outputs.append(tensor)

    def node(self, proto: NodeProto, scope: _Scope) -> Node:
        node: Node = Node.__new__(Node)
        inputs, outputs = Links(node, "outputs"), Links(node, "inputs")
        _require_text(proto)
        has_domain = proto.HasField("domain")
        node.__dict__.update(
            op=proto.op_type, name=proto.name, attrs={}, inputs=inputs, outputs=outputs,
            domain=proto.domain if has_domain else None,
        )  # fmt: skip
        own = scope.own
        add = list.append  # Links.append would tell the other side too, at twice the time
        for name in proto.input:
            tensor = (own.get(name) or scope.find(name)) if name else Variable("")
            if tensor is None:
                raise BadModel(f"{_label(proto)} reads '{name}', which nothing produces")
            add(inputs, tensor)
            add(tensor.outputs, node)
        for name in proto.output:
            tensor = own[name] if name else Variable("")
            add(outputs, tensor)
            add(tensor.inputs, node)
        for attribute in proto.attribute:
            read_attribute(attribute, node, lambda graph: self.subgraph(graph, scope), self.read_values)
        _read_rest(proto, node)
        return node

    def function(self, proto: FunctionProto) -> Function:
        imports = list(proto.opset_import)
        scope = _Scope(imports, default_opset(imports))
        function = Function(
            text(proto.name), text(proto.domain), doc_string=text(proto.doc_string), opset=scope.opset,
            import_domains=imports, ir_version=self.ir_version, overload=text(proto.overload),
        )  # fmt: skip
        copy_presence(proto, function.header, ("name", "domain", "overload", "doc_string"))
        function._functions = self.functions
        function.metadata_props = props_of(proto)
        function.attrs = {text(name): None for name in proto.attribute}
        holder = Node("function", proto.name)
        for attribute in proto.attribute_proto:
            read_attribute(attribute, holder, lambda graph: self.subgraph(graph, scope), self.read_values)
        function.attrs.update(holder.attrs)
        function.attr_shells = holder.attr_shells
        infos = ValueInfos(proto.value_info)
        for name in proto.input:
            if name in scope.own:
                raise BadModel(f"input '{name}' of function '{proto.name}' is listed twice")
            scope.own[name] = _variable(name, infos.take(name))
            function.inputs.append(scope.own[name])
        self._nodes(proto.node, infos, function, scope)
        function.stray_infos = infos.strays(scope.own)
        for name in proto.output:
            tensor = scope.own.get(name)
            if tensor is None:
                raise BadModel(f"output '{name}' of function '{proto.name}' is produced by no node")
            function.outputs.append(tensor)
        return function


def _add_initializer(constant: Constant, graph: Graph, scope: _Scope) -> None:
    if text(constant.name) in scope.own:
        raise BadModel(f"initializer '{constant.name}' is given twice")
    scope.own[constant.name] = constant
    graph.constants.append(constant)


def _variable(name: str, info: ValueInfoProto | None) -> Variable:
    variable = Variable(text(name))
    if info is not None:
        _read_info(variable, info)
    return variable


def _read_info(variable: Variable, info: ValueInfoProto) -> None:
    variable.info = info
    variable.dtype, variable.shape, variable.type = facts(info.type)
    read_props(info, variable)


def _label(proto: NodeProto) -> str:
    return Node(proto.op_type, proto.name, outputs=[Variable(name) for name in proto.output]).label


def _require_text(proto: NodeProto) -> None:
    try:
        "".join((proto.name, proto.op_type, proto.domain, proto.overload, *proto.input, *proto.output))
    except TypeError:  # bytes among them
        raise BadModel(f"node {proto.name!r} ({proto.op_type}) has a name that is not UTF-8") from None


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


def default_opset(imports: list[OperatorSetIdProto]) -> int:
    """The version of the default domain; 1 where it is not imported (IR specification).

    Raises:
        BadModel: The version of any domain is none that an operator set could have.
    """
    for entry in imports:
        if not 0 <= entry.version < _NO_OPSET:
            raise BadModel(f"the model imports opset {entry.version} of domain '{entry.domain}'")
    return next((int(entry.version) for entry in imports if entry.domain in DEFAULT_DOMAINS), 1)
