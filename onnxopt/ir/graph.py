"""Graphs and local functions: graphsurgeon's classes with identity semantics and everything that a file says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import onnx_graphsurgeon as gs
from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    OperatorSetIdProto,
    TensorAnnotation,
    ValueInfoProto,
)

from onnxopt.ir.node import DEFAULT_DOMAINS, PLAIN, Node
from onnxopt.ir.tensor import Constant, Tensor


class Graph(gs.Graph):  # type: ignore[misc]
    """A graph: the main one of a model, or a subgraph in an attribute. Equal only to itself.

    The fields beyond graphsurgeon's hold what its round trip loses.
    """

    nodes: list[Node]
    inputs: list[Tensor]
    outputs: list[Tensor]
    name: str
    doc_string: str
    opset: int
    import_domains: list[OperatorSetIdProto] | None
    ir_version: int | None

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(
        self,
        nodes: Sequence[Node] | None = None,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        name: str | None = None,
        doc_string: str | None = None,
        opset: int | None = None,
        import_domains: list[OperatorSetIdProto] | None = None,
        producer_name: str | None = None,
        producer_version: str | None = None,
        functions: Sequence[Function] | None = None,
        ir_version: int | None = None,
    ) -> None:
        self.nodes = [] if nodes is None else list(nodes)
        self.inputs = list(inputs or ())
        self.outputs = list(outputs or ())
        self.name = self.__name__ = "graph" if name is None else name
        self.doc_string = doc_string or ""
        self.opset = gs.Graph.DEFAULT_OPSET if opset is None else opset
        self.import_domains = import_domains
        self.ir_version = ir_version
        self.name_idx = 0
        self._functions: list[Function] = list(functions or ())
        self.metadata_props: dict[str, str] = {}
        self.model: ModelProto = ModelProto(producer_name=producer_name, producer_version=producer_version)
        """The model around a main graph: domain, version, doc string, metadata_props, training info; no graph in it."""
        self.shell: GraphProto = GraphProto()
        self.constants: list[Constant] = []
        """The initializers that the file declares here, in its order; those in use are written back here."""
        self.unused: set[Constant] = set()
        """Those of them that no node reads: kept, because the file had them, until a pass drops them."""
        self.listed: dict[str, ValueInfoProto | None] = {}
        """The file's list of inputs with, for those that are initializers too, how the list declares them."""
        self.output_infos: dict[Tensor, ValueInfoProto] = {}
        """How the outputs list declares a tensor that is declared elsewhere too."""
        self.stray_infos: list[ValueInfoProto] = []
        """Value infos of names that no node, input or output of this graph has, or that are declared twice."""
        self.quantization_annotation: list[TensorAnnotation] = []

    @property
    def producer_name(self) -> str:
        """The tool that made the model."""
        return str(self.model.producer_name)

    @producer_name.setter
    def producer_name(self, name: str) -> None:
        self.model.producer_name = name

    @property
    def producer_version(self) -> str:
        """The version of the tool that made the model."""
        return str(self.model.producer_version)

    @producer_version.setter
    def producer_version(self, version: str) -> None:
        self.model.producer_version = version

    @property
    def functions(self) -> list[Function]:
        """The model's local functions; one list, shared by the graph, its subgraphs and the functions themselves."""
        return self._functions

    @functions.setter
    def functions(self, functions: Sequence[Function]) -> None:
        self._functions[:] = list(functions)

    def opset_of(self, domain: str | None) -> int | None:
        """The opset of a domain that this graph imports; None where it imports none."""
        if domain in DEFAULT_DOMAINS:
            return self.opset
        for entry in self.import_domains or ():
            if entry.domain == domain:
                return int(entry.version)
        return None

    def subgraphs(self, recursive: bool = False) -> Iterator[Graph]:
        """The graphs in the attributes of its nodes, and with `recursive` those inside them."""
        found = [  # asked by every pass, and nearly always in vain
            value
            for node in self.nodes
            if node.attrs
            for value in node.attrs.values()
            if value.__class__ not in PLAIN
            and (value.__class__ is not list or (value and value[0].__class__ not in PLAIN))
        ]
        for value in found:
            for graph in value if isinstance(value, list) else (value,):
                if not isinstance(graph, gs.Graph):
                    break  # a list holds one kind of thing
                yield graph
                if recursive:
                    yield from graph.subgraphs(recursive=True)

    def copy(self, tensor_map: dict[Tensor, Tensor] | None = None) -> Graph:
        """A complete copy: subgraphs and functions are copied, weights are shared until somebody writes into them.

        `tensor_map` gives the copies of outer tensors, for a subgraph; without it the copy has its own of those too.
        """
        from onnxopt.ir.copying import copy_graph

        return copy_graph(self, tensor_map)

    def __copy__(self) -> Graph:
        return self.copy()

    def __deepcopy__(self, memo: object) -> Graph:
        return self.copy()

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError(f"{self!r} cannot be pickled; save it with onnxopt.ir.save")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a protocol's question, and not the name of an operator that was registered
            raise AttributeError(name)
        return super().__getattr__(name)

    def layer(self, inputs: Any = None, outputs: Any = None, *args: Any, **options: Any) -> Any:
        """Make a node at the end of the graph, as graphsurgeon's `layer` does; return its outputs.

        Strings name new tensors (a number is added), arrays and numbers become constants. Unlike graphsurgeon's it
        does not look at the whole graph for each name.
        """
        from onnxopt.ir.layer import layer

        return layer(self, inputs, outputs, *args, **options)

    def toposort(self, recurse_subgraphs: bool = True, recurse_functions: bool = True, mode: str = "full") -> Graph:
        """Sort the nodes, stably; graphsurgeon's signature for `onnxopt.ir.sort`."""
        from onnxopt.ir.adopt import adopt
        from onnxopt.ir.sort import sort_scope

        adopt(self)
        scopes: list[Graph] = [self]
        if recurse_subgraphs:
            scopes += self.subgraphs(recursive=True)
        if recurse_functions:
            scopes += [
                scope for function in self.functions for scope in (function, *function.subgraphs(recursive=True))
            ]
        for scope in scopes:
            sort_scope(scope)
        return self

    def cleanup(
        self,
        remove_unused_node_outputs: bool = False,
        recurse_subgraphs: bool = True,
        remove_unused_graph_inputs: bool = False,
        recurse_functions: bool = True,
    ) -> Graph:
        """Remove what no output needs; graphsurgeon's signature for `onnxopt.ir.sweep`.

        A tensor that a pass made an input is no longer the output of a node.
        """
        from onnxopt.ir.adopt import adopt
        from onnxopt.ir.sweep import sweep

        adopt(self)
        for tensor in self.inputs:
            tensor.inputs.clear()
        sweep(self, outputs=remove_unused_node_outputs, inputs=remove_unused_graph_inputs)
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self.nodes)} nodes>"

    __str__ = __repr__


class Function(Graph, gs.Function):  # type: ignore[misc]
    """A model-local function: the definition of an operator by others. It has no initializers."""

    def __init__(
        self,
        name: str,
        domain: str | None = None,
        nodes: Sequence[Node] | None = None,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        doc_string: str | None = None,
        opset: int | None = None,
        import_domains: list[OperatorSetIdProto] | None = None,
        functions: Sequence[Function] | None = None,
        attrs: dict[str, Any] | None = None,
        ir_version: int | None = None,
        overload: str = "",
    ) -> None:
        super().__init__(
            nodes, inputs, outputs, name, doc_string, opset, import_domains, functions=functions, ir_version=ir_version
        )
        self.domain = gs.Function.DEFAULT_DOMAIN if domain is None else domain
        self.overload = overload
        self.header: FunctionProto = FunctionProto()
        """Name, domain, overload and doc string as the file has them: empty, or not at all."""
        self.attrs: dict[str, Any] = {} if attrs is None else attrs
        """Default values by attribute name; None where the caller has to give one."""
        self.attr_shells: dict[str, AttributeProto] | None = None
        """What the file said of the defaults that their Python values cannot tell."""

    def __call__(self, graph: Graph, *args: Any, **options: Any) -> Any:
        """Make a node in `graph` that calls this function; return its outputs. See graphsurgeon's `Function`."""
        outputs = super().__call__(graph, *args, **options)
        graph.nodes[-1].overload = self.overload
        return outputs

    @property
    def unique_id(self) -> tuple[str, str, str]:
        """What a node names to call it: domain, operator, overload."""
        return (self.domain, self.name, self.overload)

    def copy(self, tensor_map: dict[Tensor, Tensor] | None = None) -> Function:
        """A complete copy."""
        from onnxopt.ir.copying import copy_function

        return copy_function(self)

    # graphsurgeon's versions of these recurse into other functions only on request; ours always take one scope.
    def cleanup(self, *args: Any, **options: Any) -> Function:
        """Remove what no output of this function needs."""
        from onnxopt.ir.adopt import adopt
        from onnxopt.ir.sweep import sweep

        adopt(self)
        sweep(self, outputs=bool(options.get("remove_unused_node_outputs", args[0] if args else False)))
        return self

    def toposort(self, recurse_subgraphs: bool = True, recurse_functions: bool = False, mode: str = "nodes") -> Graph:
        """Sort the nodes of this function, stably."""
        return Graph.toposort(self, recurse_subgraphs, False)


def every_graph(graph: Graph) -> Iterator[Graph]:
    """The main graph, its subgraphs at every depth, then the local functions with theirs."""
    yield graph
    yield from graph.subgraphs(recursive=True)
    if not isinstance(graph, Function):
        for function in graph.functions:
            yield function
            yield from function.subgraphs(recursive=True)


def every_node(graph: Graph) -> Iterator[Node]:
    """The nodes of every scope."""
    for scope in every_graph(graph):
        yield from scope.nodes
