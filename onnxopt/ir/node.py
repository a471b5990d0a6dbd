"""Nodes: graphsurgeon's class, compared and hashed by identity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import onnx_graphsurgeon as gs
from onnx import AttributeProto, NodeProto

from onnxopt.ir.links import Linked, Links
from onnxopt.ir.tensor import Tensor

if TYPE_CHECKING:
    from onnxopt.ir.graph import Graph

DEFAULT_DOMAINS = (None, "", "ai.onnx")
PLAIN = frozenset({int, float, str})
"""Classes of attributes, and of what lists of them hold, that hold no graph: nearly all."""


class Node(Linked, gs.Node):  # type: ignore[misc]
    """One operation. Two nodes are equal only if they are the same object."""

    op: str
    name: str
    attrs: dict[str, Any]
    """Python values: int, float, str, lists of these, Constant, Graph, or AttributeRef inside a function."""
    inputs: Links
    """Tensors; an omitted optional one has the name ""."""
    outputs: Links
    domain: str | None

    overload: str = ""
    doc_string: str = ""
    shell: NodeProto | None = None
    """What the file said of the node and no attribute here holds (device configurations)."""
    attr_shells: dict[str, AttributeProto] | None = None
    """What the file said of an attribute and its Python value cannot tell: the type of an empty list, a doc string.
    One without a name stands for an attribute whose value the file left out, since it is 0 or empty."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(
        self,
        op: str,
        name: str | None = None,
        attrs: dict[str, Any] | None = None,
        inputs: list[Tensor] | None = None,
        outputs: list[Tensor] | None = None,
        domain: str | None = None,
    ) -> None:
        self.op = op
        self.name = name or ""
        self.attrs = {} if attrs is None else attrs
        self.inputs = Links(self, "outputs", inputs or ())
        self.outputs = Links(self, "inputs", outputs or ())
        self.domain = domain

    @property
    def metadata_props(self) -> dict[str, str]:
        """Metadata of the node; kept on save."""
        props: dict[str, str] = self.__dict__.setdefault("_metadata_props", {})
        return props

    @property
    def is_standard(self) -> bool:
        """Whether the operator is of the default ONNX domain."""
        return self.domain in DEFAULT_DOMAINS

    def is_op(self, *ops: str) -> bool:
        """Whether it is one of these operators of the default ONNX domain."""
        return self.op in ops and self.domain in DEFAULT_DOMAINS

    @property
    def label(self) -> str:
        """How messages name it: by its name, or where it has none by its first output."""
        if self.name:
            return f"node '{self.name}' ({self.op})"
        outputs = [tensor.name for tensor in self.outputs if tensor.name]
        return f"node ({self.op}) of '{outputs[0]}'" if outputs else f"node ({self.op}) without name or outputs"

    def keep_shell(self, name: str, shell: AttributeProto) -> None:
        """Remember what the value of attribute `name` cannot tell; see `attr_shells`."""
        if self.attr_shells is None:
            self.attr_shells = {}
        self.attr_shells[name] = shell

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute's value, or the default; a reference to a function's attribute is returned as such."""
        return self.attrs.get(name, default)

    def subgraphs(self, recursive: bool = False) -> Iterator[Graph]:
        """The graphs in its attributes (`then_branch`, `body`), and with `recursive` those inside them."""
        for value in self.attrs.values():
            kind = value.__class__
            if kind in PLAIN or (kind is list and value and value[0].__class__ in PLAIN):
                continue
            for graph in value if isinstance(value, list) else (value,):
                if not isinstance(graph, gs.Graph):
                    break
                yield graph
                if recursive:
                    yield from graph.subgraphs(recursive=True)

    def copy(self, inputs: Any = None, outputs: Any = None, tensor_map: dict[Tensor, Tensor] | None = None) -> Node:
        """A copy with other inputs and outputs; subgraphs are copied, their outer tensors taken from `tensor_map`.

        Without one the copy is for the same graph: its subgraphs read the same outer tensors and constants.
        """
        if tensor_map is None and self.attrs and (subgraphs := list(self.subgraphs(recursive=True))):
            from onnxopt.ir.copying import outer_tensors

            tensor_map = outer_tensors(subgraphs)
        twin = Node(self.op, self.name, {}, inputs, outputs, self.domain)
        twin.attrs = {name: copy_attribute(value, tensor_map) for name, value in self.attrs.items()}
        for field in ("overload", "doc_string", "shell", "attr_shells"):
            if field in self.__dict__:
                twin.__dict__[field] = self.__dict__[field]
        if "_metadata_props" in self.__dict__:
            twin.metadata_props.update(self.metadata_props)
        return twin

    def __repr__(self) -> str:
        outs = ", ".join(tensor.name for tensor in self.outputs)
        return f"<{self.op} {self.name or '-'} -> {outs}>"

    __str__ = __repr__


def copy_attribute(value: Any, tensor_map: dict[Tensor, Tensor] | None) -> Any:
    """A copy of an attribute's value; a graph's outer tensors are taken from `tensor_map`."""
    from onnxopt.ir.graph import Graph

    if isinstance(value, Graph):
        return value.copy(tensor_map)
    if isinstance(value, list):
        return [copy_attribute(item, tensor_map) for item in value]
    return value.copy() if isinstance(value, Tensor) else value
