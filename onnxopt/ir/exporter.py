"""Graph -> ModelProto, field for field what was imported where no pass changed it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto

from onnxopt.errors import BadModel
from onnxopt.ir import dtypes
from onnxopt.ir.adopt import adopt
from onnxopt.ir.attributes import AttributeWriter
from onnxopt.ir.declared import stamp, write_info
from onnxopt.ir.edit import with_inner_nodes
from onnxopt.ir.fields import write_props
from onnxopt.ir.graph import Function, Graph
from onnxopt.ir.homes import Homes
from onnxopt.ir.node import DEFAULT_DOMAINS, Node
from onnxopt.ir.tensor import Constant, Variable
from onnxopt.ir.values import InlineValues, MappedValues, SparseValues
from onnxopt.ir.values import to_proto as array_to_proto

Place = Callable[[Constant, TensorProto], None]
"""Writes a constant's type, shape and data, or where these are to be found, into a TensorProto."""
_LISTED_BELOW = 4  # IR versions before this list every initializer as an input
WITHHELD = "withheld"


def to_proto(graph: Graph, *, max_inline: int | None = None, place: Place | None = None) -> ModelProto:
    """The model of a main graph.

    Args:
        graph: The graph; it is left as it is, but for plain graphsurgeon objects, which are adopted, and new constants
            whose name stands for something else, which are renamed.
        max_inline: Leave out the data of constants above so many bytes: a skeleton, enough for shape inference.
        place: Where to put the data of every constant; by default into the model.
    """
    if place is None:
        place = inline if max_inline is None else withhold_above(max_inline)
    adopt(graph)
    return _Exporter(graph, place).model()


def to_outline(graph: Graph, max_inline: int) -> ModelProto:
    """The skeleton of a model without what the file tells of values and nodes beyond their operators.

    No value infos, but those of inputs and outputs, and in functions; no doc strings and no metadata of nodes.
    """
    adopt(graph)
    return _Outliner(graph, withhold_above(max_inline)).model()


def inline(constant: Constant, out: TensorProto) -> None:
    """Put a constant's data into the TensorProto, in the very fields that the file used where it is untouched."""
    values = constant._values
    if constant._export_dtype is not None:
        code = dtypes.to_onnx(constant._export_dtype)
        out.CopyFrom(array_to_proto(constant.read().astype(dtypes.to_numpy(code))))
    elif isinstance(values, InlineValues):
        out.CopyFrom(values.tensor)
    elif isinstance(values, MappedValues):
        write_header(constant, out)
        out.raw_data = values.raw().tobytes()
    else:
        out.CopyFrom(array_to_proto(constant.read()))
    _name(constant, out)


def write_header(constant: Constant, out: TensorProto) -> None:
    """Everything of a TensorProto but its data."""
    values = constant._values
    if isinstance(values, MappedValues):
        out.CopyFrom(values.header)
    else:
        out.dims.extend(constant.shape)
        out.data_type = dtypes.to_onnx(constant.dtype)
    _name(constant, out)


def withhold_above(limit: int) -> Place:
    """Put data of at most `limit` bytes inline, and a dangling reference for the rest."""

    def place(constant: Constant, out: TensorProto) -> None:
        if constant.nbytes <= limit:
            return inline(constant, out)
        write_header(constant, out)
        out.data_location = TensorProto.EXTERNAL
        out.external_data.add(key="location", value=WITHHELD)
        return None

    return place


def _name(constant: Constant, out: TensorProto) -> None:
    if constant.name != out.name:
        out.name = constant.name
    stamp(constant, out)


class _Exporter:
    def __init__(self, graph: Graph, place: Place) -> None:
        self.main = graph
        self.place = place
        self.homes = Homes(graph)
        self.writer = AttributeWriter(self.graph, place)

    def model(self) -> ModelProto:
        model = ModelProto()
        model.CopyFrom(self.main.model)
        if self.main.ir_version is not None:
            model.ir_version = self.main.ir_version
        model.opset_import.extend(opset_imports(self.main))
        if not model.HasField("ir_version"):  # a graph built from nothing: the oldest version that has its opset
            model.ir_version = ir_version_for(self.main.opset, bool(self.main.functions))
        self.graph(self.main, model.graph)
        for function in self.main.functions:
            self.function(function, model.functions.add())
        return model

    def graph(self, graph: Graph, out: GraphProto) -> None:
        out.CopyFrom(graph.shell)
        for field, value in (("name", graph.name), ("doc_string", graph.doc_string)):
            if getattr(out, field) != value:
                setattr(out, field, value)
        write_props(graph.metadata_props, out)
        self._inputs(graph, out)
        for node in graph.nodes:
            self.node(node, out.node.add())
        for tensor in graph.outputs:
            write_info(tensor, out.output.add(), graph.output_infos.get(tensor))
        self._value_infos(graph, out.value_info)
        for constant in self.homes.initializers(graph):
            if isinstance(constant._values, SparseValues):
                sparse = out.sparse_initializer.add()
                sparse.CopyFrom(constant._values.tensor)
                if sparse.values.name != constant.name:
                    sparse.values.name = constant.name
                stamp(constant, sparse.values)
            else:
                self.place(constant, out.initializer.add())
        out.quantization_annotation.extend(graph.quantization_annotation)

    def _inputs(self, graph: Graph, out: GraphProto) -> None:
        """The inputs; in a model of IR version 3 or less also its initializers, where the file listed them."""
        for variable in graph.inputs:
            if isinstance(variable, Variable) and variable.default is not None:
                default = out.initializer.add()
                self.place(variable.default, default)
                if default.name != variable.name:
                    default.name = variable.name
        must_list = (self.main.ir_version or _LISTED_BELOW) < _LISTED_BELOW
        listed = {constant.name: constant for constant in self.homes.initializers(graph)} if must_list else {}
        real = iter(graph.inputs)
        for name in graph.listed if must_list else ():
            if name in listed:
                write_info(listed.pop(name), out.input.add(), graph.listed[name])
            else:
                for variable in islice(real, 1):
                    write_info(variable, out.input.add())
        for variable in real:
            write_info(variable, out.input.add())
        if graph is self.main:
            declared = set(graph.constants)
            for constant in listed.values():
                if constant not in declared:
                    write_info(constant, out.input.add())

    def _value_infos(self, graph: Graph, out: Any) -> None:
        declared = {*graph.inputs, *graph.outputs}.difference(
            graph.output_infos
        )  # what the file declared twice is again
        for constant in self.homes.initializers(graph):
            if constant.info is not None and constant not in declared:
                write_info(constant, out.add())
        for node in graph.nodes:
            for tensor in node.outputs:
                if tensor.name and tensor not in declared and is_declared(tensor):
                    write_info(tensor, out.add())
        out.extend(graph.stray_infos)

    def node(self, node: Node, out: NodeProto) -> None:
        self._remarks(node, out)
        out.op_type = node.op
        if node.name:
            out.name = node.name
        if node.domain is not None:
            out.domain = node.domain
        if node.overload:
            out.overload = node.overload
        out.input.extend([tensor.name for tensor in node.inputs])
        for tensor in node.outputs:
            if isinstance(tensor, Constant):
                raise BadModel(f"constant '{tensor.name}' is still an output of {node.label}: clear its inputs")
            out.output.append(tensor.name)
        shells = node.attr_shells or {}
        for name, value in node.attrs.items():
            kind = None if name in shells else value.__class__
            if kind is int:
                out.attribute.add(name=name, i=value, type=2)  # AttributeProto.INT
            elif kind is list and value and all(item.__class__ is int for item in value):
                out.attribute.add(name=name, ints=value, type=7)  # AttributeProto.INTS
            else:
                self.writer.write(name, value, out.attribute.add(), shells.get(name), node.label)

    def _remarks(self, node: Node, out: NodeProto) -> None:
        """What a file tells of a node beyond what it computes."""
        if node.shell is not None:
            out.CopyFrom(node.shell)
        if node.doc_string:
            out.doc_string = node.doc_string
        if "_metadata_props" in node.__dict__:
            write_props(node.metadata_props, out)

    def function(self, function: Function, out: FunctionProto) -> None:
        out.CopyFrom(function.header)
        for field in ("name", "domain", "overload", "doc_string"):
            if getattr(out, field) != getattr(function, field):
                setattr(out, field, getattr(function, field))
        write_props(function.metadata_props, out)
        out.input.extend(tensor.name for tensor in function.inputs)
        out.output.extend(tensor.name for tensor in function.outputs)
        shells = function.attr_shells or {}
        for name, value in function.attrs.items():
            if value is None:
                out.attribute.append(name)
            else:
                self.writer.write(
                    name, value, out.attribute_proto.add(), shells.get(name), f"function '{function.name}'"
                )
        for constant in self.homes.initializers(function):  # a FunctionProto has no initializers
            name = "sparse_value" if isinstance(constant._values, SparseValues) else "value"
            node = Node("Constant", attrs={name: Constant("", constant._values, None, constant._export_dtype)})
            self.node(node, out.node.add(output=[constant.name]))
        for node in function.nodes:
            self.node(node, out.node.add())
        self._value_infos(function, out.value_info)
        for tensor in dict.fromkeys((*function.inputs, *function.outputs)):
            if is_declared(tensor):
                write_info(tensor, out.value_info.add())
        out.opset_import.extend(opset_imports(function))


class _Outliner(_Exporter):
    def _value_infos(self, graph: Graph, out: Any) -> None:
        if isinstance(graph, Function):
            super()._value_infos(graph, out)

    def _remarks(self, node: Node, out: NodeProto) -> None:
        pass


def is_declared(tensor: Any) -> bool:
    """Whether a value info of a tensor would say something."""
    return tensor.info is not None or (
        isinstance(tensor, Variable) and (tensor.dtype is not None or tensor.shape is not None)
    )


def opset_imports(graph: Graph) -> list[OperatorSetIdProto]:
    """The opset imports: the file's, with the default domain at `graph.opset`, and 1 for domains that came since."""
    imports = [OperatorSetIdProto.FromString(entry.SerializeToString()) for entry in graph.import_domains or ()]
    defaults = [entry for entry in imports if entry.domain in DEFAULT_DOMAINS]
    for entry in defaults[:1]:
        if entry.version != graph.opset:
            entry.version = graph.opset
    used = {"" if node.is_standard else node.domain or "" for node in with_inner_nodes(graph.nodes)}
    known = {"" if entry.domain in DEFAULT_DOMAINS else entry.domain for entry in imports}
    imports += [OperatorSetIdProto(domain=name, version=1 if name else graph.opset) for name in sorted(used - known)]
    return imports


def ir_version_for(opset: int, has_functions: bool) -> int:
    """The oldest IR version that has an opset, and what our models need beside it."""
    from onnx import helper

    version = helper.find_min_ir_version_for([helper.make_opsetid("", max(opset, 1))], ignore_unknown=True)
    return max(version, 8 if has_functions else 4)  # functions came with IR version 8, free initializers with 4
