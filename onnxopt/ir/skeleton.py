"""What follows from a model's interface and operators: onnx's shape inference, run on a skeleton of the model.

The skeleton is the model without its large weights and, of what the file declares, only the interface and the outputs
of operators that onnx cannot infer. What the inference then says of a value rests on no declaration that may be stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from onnx import GraphProto, ModelProto, NodeProto, TensorShapeProto, TypeProto, ValueInfoProto

from onnxopt.ir import dtypes
from onnxopt.ir.declared import facts, write_info
from onnxopt.ir.exporter import is_declared, to_outline
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node
from onnxopt.ir.onnx_inference import run
from onnxopt.ir.schema import Schema, find_schema
from onnxopt.ir.tensor import Dim, Shape, Tensor, Variable

SMALL = 1024
"""Weights of at most so many bytes go into the skeleton: shapes, axes and scalars, whose values inference needs."""
_FOLLOWED = 1 << 20
"""To follow computed shapes, onnx takes some 80 bytes for each element of each 1-D value, whatever it is for."""
_HIDDEN = "onnxopt.hidden"
"""A domain that no operator is defined in."""


class Facts(NamedTuple):
    """What is known of a value; None is not known."""

    dtype: dtypes.DType | None = None
    shape: Shape | None = None
    kind: str | None = None
    """`tensor_type`, `sequence_type`, ...; the dtype of a sequence is that of its tensors, and it has no shape."""

    def __str__(self) -> str:
        kind = "" if self.kind in (None, "tensor_type") else f"{self.kind.removesuffix('_type')} of "
        dtype = "?" if self.dtype is None else "string" if self.dtype == dtypes.STRING else str(self.dtype)
        shape = "" if self.shape is None else f"[{','.join('?' if dim is None else str(dim) for dim in self.shape)}]"
        return f"{kind}{dtype}{shape}"


NOTHING = Facts()


class Derived(NamedTuple):
    """What onnx inferred."""

    facts: dict[Tensor, Facts]
    """Of the values of the main graph and its subgraphs, by the tensor."""
    types: dict[Tensor, TypeProto]
    """The full types of those that are no plain tensors."""
    problems: list[str]
    """Why nothing could be inferred of single nodes, one line each."""


class Skeleton:
    """The skeleton of a main graph and all its subgraphs."""

    def __init__(self, graph: Graph, dims: Mapping[str, int] | None = None) -> None:
        """Make the skeleton; `dims` has numbers for symbols, and for unnamed dimensions of inputs as `input[axis]`."""
        self.graph = graph
        self.dims = dims or {}
        self.model: ModelProto = to_outline(graph, SMALL)
        self._functions = {(function.name, function.domain) for function in graph.functions}
        self._required: dict[tuple[str, str | None], list[bool] | None] = {}
        self._problems: list[str] = []
        self._follow: bool | None = None
        self._read: tuple[set[str], dict[Tensor, tuple[TypeProto, Facts]]] = (set(), {})
        """The symbols declared and the types that came out when the inference ran last: most come out again."""
        self.model.opset_import.add(domain=_HIDDEN, version=1)
        for scope, proto in paired(graph, self.model.graph):
            self._name_nodes(proto.node)
            self._strip(scope, proto)
            for info in (*proto.input, *proto.value_info, *proto.output):
                self._bind(info)
        if self.dims:
            for info in self.model.graph.input:
                for axis, dim in enumerate(_dims(info.type)):
                    if not dim.WhichOneof("value") and f"{info.name}[{axis}]" in self.dims:
                        dim.dim_value = self.dims[f"{info.name}[{axis}]"]

    def _strip(self, scope: Graph, proto: GraphProto) -> None:
        inferred: set[str] = set()
        opaque: dict[str, Tensor] = {}
        for node, node_proto in zip(scope.nodes, proto.node, strict=True):
            required = self._required_inputs(node, scope)
            if required and not (len(node.inputs) >= len(required) and _has_each(required, node)):
                self._problems.append(f"{node.op} {node_proto.name}: a required input is missing")
                node_proto.domain = _HIDDEN  # onnx's inference takes its presence for granted, and crashes
                required = None
            if required is None:
                opaque.update((tensor.name, tensor) for tensor in node.outputs)
            else:
                inferred.update([tensor.name for tensor in node.outputs])
        if opaque:
            given_out = {*scope.inputs, *scope.outputs}.difference(scope.output_infos)
            for name, tensor in opaque.items():
                if name and tensor not in given_out and is_declared(tensor):
                    write_info(tensor, proto.value_info.add())
            proto.value_info.extend(info for info in scope.stray_infos if info.name in opaque)
        for output in proto.output:
            if output.name in inferred:
                output.ClearField("type")
        # the default of an input that the caller may override says nothing about its value
        defaults = {tensor.name for tensor in scope.inputs if isinstance(tensor, Variable) and tensor.default}
        if defaults:
            fixed = [tensor for tensor in proto.initializer if tensor.name not in defaults]
            del proto.initializer[:]
            proto.initializer.extend(fixed)

    def _required_inputs(self, node: Node, scope: Graph) -> list[bool] | None:
        """Whether each of the first inputs, which must be written, must also have a name; None where onnx cannot infer.

        Both of a Loop's first two inputs must be written and may be empty.
        """
        key = (node.op, node.domain)
        if key not in self._required:
            schema = find_schema(node.op, node.domain, scope.opset_of(node.domain))
            if key in self._functions:
                self._required[key] = []
            elif schema is not None and (
                schema.has_type_and_shape_inference_function or schema.has_function  # type: ignore[attr-defined]
            ):
                inputs = schema.inputs[: schema.min_input]
                self._required[key] = [form.option != Schema.FormalParameterOption.Optional for form in inputs]
            else:
                self._required[key] = None
        return self._required[key]

    def _name_nodes(self, nodes: Iterable[NodeProto]) -> None:
        for node in nodes:
            if not node.name:  # onnx names a node in its messages by this alone
                node.name = f"-> {next((name for name in node.output if name), '?')}"

    def _bind(self, info: ValueInfoProto) -> None:
        for dim in _dims(info.type):
            if dim.dim_param in self.dims:
                dim.dim_value = self.dims[dim.dim_param]
            elif is_open(dim.dim_param or dim.dim_value):
                dim.ClearField("value")

    def declare(self, known: Mapping[Tensor, Facts]) -> None:
        """Add declarations of values that inference left open, for the values behind them."""
        for scope, proto in paired(self.graph, self.model.graph):
            outputs = {info.name: info for info in proto.output}
            for node in scope.nodes:
                for tensor in node.outputs:
                    if tensor in known:
                        place = outputs.get(tensor.name) or proto.value_info.add(name=tensor.name)
                        _write(tensor, known[tensor], place)

    def infer(self) -> Derived:
        """Run onnx's inference.

        Raises:
            BadModel: onnx cannot process the model at all.
        """
        if self._follow is None:
            found = self._infer(False)
            self._follow = not self._is_complete(found) and self._may_follow(found)
            if not self._follow:
                return found
        return self._infer(self._follow)

    def _may_follow(self, found: Derived) -> bool:
        """Whether following computed shapes costs little enough."""
        flat = [facts.shape[0] for facts in found.facts.values() if facts.shape and len(facts.shape) == 1]
        elements = sum(size for size in flat if isinstance(size, int))
        if elements > _FOLLOWED:
            self._problems.append(f"computed shapes are not followed: 1-D values of {elements} elements in all")
            found.problems.append(self._problems[-1])
        return elements <= _FOLLOWED

    def _is_complete(self, found: Derived) -> bool:
        """Whether the inference left no tensor open, so that following computed shapes would add nothing."""
        for scope, _ in paired(self.graph, self.model.graph):
            for node in scope.nodes:
                for tensor in node.outputs:
                    known = found.facts.get(tensor, NOTHING)
                    if tensor.name and known.kind in (None, "tensor_type") and _is_vague(known.shape):
                        return False
        return True

    def _infer(self, follow: bool) -> Derived:
        declared = self._symbols()
        model, problems = run(self.model, follow)
        found = Derived({}, {}, self._problems + problems)
        before = self._read[1] if self._read[0] == declared else {}
        plain: dict[Tensor, tuple[TypeProto, Facts]] = {}
        for scope, proto in paired(self.graph, model.graph):
            types = {info.name: info.type for info in (*proto.value_info, *proto.input, *proto.output)}
            own = () if scope is self.graph else scope.inputs
            for tensor in (*own, *(tensor for node in scope.nodes for tensor in node.outputs)):
                kind = types.get(tensor.name)
                if kind is None:
                    continue
                known = before.get(tensor)
                if known is not None and known[0] == kind:
                    found.facts[tensor] = known[1]
                    plain[tensor] = known
                elif kind.WhichOneof("value"):
                    _read(tensor, kind, declared, found)
                    if tensor in found.facts and tensor not in found.types:
                        plain[tensor] = (kind, found.facts[tensor])
        self._read = (declared, plain)
        return found

    def _symbols(self) -> set[str]:
        """The symbols that the skeleton declares; all others that come out of onnx are its own inventions."""
        return {
            dim.dim_param
            for _, proto in paired(self.graph, self.model.graph)
            for info in (*proto.input, *proto.value_info, *proto.output)
            for dim in _dims(info.type)
        }


def _has_each(required: list[bool], node: Node) -> bool:
    return all(tensor.name or not needed for needed, tensor in zip(required, node.inputs, strict=False))


def paired(graph: Graph, proto: GraphProto) -> Iterator[tuple[Graph, GraphProto]]:
    """A graph and its subgraphs at every depth, each with its own proto in the export of `graph`."""
    yield graph, proto
    if len(graph.nodes) != len(proto.node):
        raise ValueError(f"no export of graph '{graph.name}'")
    for place, node in enumerate(graph.nodes):
        if not node.attrs or not any(True for _ in node.subgraphs()):
            continue
        for value, attribute in zip(node.attrs.values(), proto.node[place].attribute, strict=True):
            if isinstance(value, Graph):
                yield from paired(value, attribute.g)
            elif isinstance(value, list):
                for subgraph, inner in zip(value, attribute.graphs, strict=False):
                    yield from paired(subgraph, inner)


def is_open(dim: Dim) -> bool:
    """Whether a dimension is unknown. Exporters also say so by -1, and by "?", which would else be one symbol."""
    return dim is None or dim == "?" or (isinstance(dim, int) and dim < 0)


def _dims(declared: TypeProto) -> Iterable[TensorShapeProto.Dimension]:
    while (kind := declared.WhichOneof("value")) in ("sequence_type", "optional_type"):
        declared = declared.sequence_type.elem_type if kind == "sequence_type" else declared.optional_type.elem_type
    if kind == "tensor_type":
        return declared.tensor_type.shape.dim
    return declared.sparse_tensor_type.shape.dim if kind == "sparse_tensor_type" else ()


def _write(tensor: Tensor, known: Facts, place: ValueInfoProto) -> None:
    if known.kind != "tensor_type" and tensor.info is not None:
        place.type.CopyFrom(tensor.info.type)
    else:
        write_info(Variable(tensor.name, known.dtype, known.shape, known.kind), place)


def _read(tensor: Tensor, declared: TypeProto, symbols: set[str], found: Derived) -> None:
    dtype, shape, kind = facts(declared)
    if dtype is None and shape is None and kind == "tensor_type":
        return
    if shape is not None and not all(type(dim) is int and dim >= 0 for dim in shape):
        shape = [_known(dim, symbols) for dim in shape]
    found.facts[tensor] = Facts(dtype, shape, kind)
    if kind != "tensor_type":
        full = TypeProto()
        full.CopyFrom(declared)
        for dim in _dims(full):
            if dim.dim_param and dim.dim_param not in symbols:
                dim.ClearField("value")
        found.types[tensor] = full


def _is_vague(shape: Shape | None) -> bool:
    return shape is None or None in shape


def _known(dim: Dim, symbols: set[str]) -> Dim:
    return None if is_open(dim) or (isinstance(dim, str) and dim not in symbols) else dim
