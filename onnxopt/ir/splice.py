"""Take the nodes of one scope into another: moved, or copied with other tensors for some of theirs.

Values are told apart by identity here, but by name in a file. What comes into a scope keeps its name where no other
value or node of the model has it, and gets a fresh one where one has: neither hides the other then, in whatever scope.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from onnx import TensorAnnotation

from onnxopt.ir.graph import Graph
from onnxopt.ir.node import Node, copy_attribute
from onnxopt.ir.tensor import Constant, Tensor, Variable

_IDENTITY_SINCE = {"tensor_type": 1, "sequence_type": 14, "optional_type": 16}
"""The opset since which Identity takes a value of a kind."""


class Names:
    """The names of values and nodes in a main graph or function, with its subgraphs, and how many have each."""

    def __init__(self, root: Graph) -> None:
        scopes = (root, *root.subgraphs(recursive=True))
        self._count: Counter[str] = Counter(own_names(scopes))
        declared = {constant for scope in scopes for constant in scope.constants}
        read = {tensor for scope in scopes for node in scope.nodes for tensor in node.inputs}
        self._count.update(tensor.name for tensor in read - declared if isinstance(tensor, Constant))
        self._numbers: Counter[str] = Counter()

    def fresh(self, prefix: str) -> str:
        """A name that nobody has: the prefix, or the prefix and a number. It counts as taken."""
        name = prefix
        while not name or self._count[name]:
            self._numbers[prefix] += 1
            name = f"{prefix}_{self._numbers[prefix]}"
        self._count[name] += 1
        return name

    def only(self, name: str) -> str:
        """The name for one that has it and shall be the only one: another one where it is not."""
        if not name or self._count[name] <= 1:
            return name
        self._count[name] -= 1
        return self.fresh(name)

    def drop(self, names: Iterable[str]) -> None:
        """Those who had these names are gone."""
        self._count.subtract(names)


def own_names(scopes: Iterable[Graph]) -> Iterator[str]:
    """The names of all nodes and of all values that are declared or made in these scopes, once for each."""
    for scope in scopes:
        yield from (info.name for info in scope.stray_infos)
        yield from (tensor.name for tensor in (*scope.inputs, *scope.constants))
        for node in scope.nodes:
            yield node.name
            yield from (tensor.name for tensor in node.outputs)


def given_out(root: Graph) -> Counter[Tensor]:
    """How often each tensor is an output of a main graph or function, or of one of its subgraphs."""
    return Counter(tensor for scope in (root, *root.subgraphs(recursive=True)) for tensor in scope.outputs)


def move(body: Graph, scope: Graph, names: Names) -> list[Node]:
    """The nodes of a subgraph, taken out of it, for a place in `scope`, which is around it.

    Names that stand elsewhere too become fresh ones, and annotations follow. The subgraph is not to be used any more.
    """
    renamed: dict[str, str] = {}
    for node in body.nodes:
        node.name = names.only(node.name)
        for tensor in node.outputs:
            _rename(tensor, names, renamed)
    for constant in body.constants:
        _rename(constant, names, renamed)
    scope.quantization_annotation += [_annotation(entry, renamed) for entry in body.quantization_annotation]
    names.drop(info.name for info in body.stray_infos)
    nodes = list(body.nodes)
    body.nodes.clear()
    return nodes


def _rename(tensor: Tensor, names: Names, renamed: dict[str, str]) -> None:
    name = names.only(tensor.name)
    if name != tensor.name:
        renamed[tensor.name] = name
        tensor.name = name


def _annotation(entry: TensorAnnotation, renamed: Mapping[str, str]) -> TensorAnnotation:
    twin = TensorAnnotation.FromString(entry.SerializeToString())
    twin.tensor_name = renamed.get(twin.tensor_name, twin.tensor_name)
    for parameter in twin.quant_parameter_tensor_names:
        parameter.value = renamed.get(parameter.value, parameter.value)
    return twin


def copy_nodes(body: Graph, tensors: dict[Tensor, Tensor], names: Names, prefix: str = "") -> list[Node]:
    """Copies of the nodes of a body, for a place in a scope of the root that `names` was made of.

    Args:
        body: A subgraph or function; it stays as it is.
        tensors: What stands for its inputs and for outer values that are not read themselves; the copies of its values
            are added. Constants that are not in it are shared.
        names: Every copy gets a name that nobody has, those in subgraphs too.
        prefix: What the names of nodes begin with.
    """
    copies = []
    for node in body.nodes:
        for tensor in node.outputs:
            if tensor.name and tensor not in tensors:
                tensors[tensor] = _fresh_copy(tensor, names)
        copies.append(_copy_node(node, tensors, names, prefix))
    return copies


def _copy_node(node: Node, tensors: dict[Tensor, Tensor], names: Names, prefix: str) -> Node:
    inputs = [_or_omitted(tensors.get(tensor, tensor)) for tensor in node.inputs]
    outputs = [tensors[tensor] if tensor.name else Variable.empty() for tensor in node.outputs]
    if not any(True for _ in node.subgraphs()):
        twin = node.copy(inputs, outputs)
    else:
        attrs, node.attrs = node.attrs, {}
        try:
            twin = node.copy(inputs, outputs)
        finally:
            node.attrs = attrs
        twin.attrs = {name: _copy_attribute(value, tensors, names, prefix) for name, value in attrs.items()}
    twin.name = names.fresh(prefix + node.name) if node.name else ""
    return twin


def _or_omitted(tensor: Tensor) -> Tensor:
    """The tensor; a new empty one where it stands for an omitted input, since each node has its own."""
    return tensor if tensor.name else Variable.empty()


def _copy_attribute(value: object, tensors: dict[Tensor, Tensor], names: Names, prefix: str) -> object:
    if isinstance(value, list):
        return [_copy_attribute(item, tensors, names, prefix) for item in value]
    if not isinstance(value, Graph):
        return copy_attribute(value, None)
    twin = Graph(
        name=value.name, doc_string=value.doc_string, opset=value.opset, import_domains=value.import_domains,
        ir_version=value.ir_version,
    )  # fmt: skip
    twin._functions, twin.shell, twin.metadata_props = value._functions, value.shell, dict(value.metadata_props)
    inner = dict(tensors)
    for tensor in (*value.inputs, *value.constants):
        inner[tensor] = _fresh_copy(tensor, names)
    twin.nodes = copy_nodes(value, inner, names, prefix)
    twin.inputs = [inner[tensor] for tensor in value.inputs]
    twin.outputs = [inner.get(tensor, tensor) for tensor in value.outputs]
    twin.constants = [inner[tensor] for tensor in value.constants]
    twin.unused = {inner[tensor] for tensor in value.unused}
    twin.listed = {inner[tensor].name: value.listed.get(tensor.name) for tensor in value.inputs}
    twin.output_infos = {inner.get(tensor, tensor): info for tensor, info in value.output_infos.items()}
    renamed = {tensor.name: copy.name for tensor, copy in inner.items() if tensor.name != copy.name}
    twin.quantization_annotation = [_annotation(entry, renamed) for entry in value.quantization_annotation]
    return twin


def _fresh_copy(tensor: Tensor, names: Names) -> Tensor:
    twin: Tensor = tensor.copy()
    twin.name = names.fresh(tensor.name)
    return twin


class Binding:
    """Makes the outputs of a node that goes be those of the body that stands for it.

    An output keeps its name, and whoever reads it does not notice, where a node of the body gives it; where the body
    gives out an outer value, a constant, or one value twice, the readers read that one, and an Identity makes the
    output where a graph gives it out.
    """

    def __init__(self, outputs: Iterable[Tensor], values: Iterable[Tensor], given: Mapping[Tensor, int]) -> None:
        """`values` are the tensors that the body gives out for `outputs`; `given` is that of `given_out`, in which the
        body itself does not count."""
        self.pairs = [(output, value) for output, value in zip(outputs, values, strict=False) if output.name]
        self.given = given

    def obstacle(self, inner: set[Node], opset: int) -> str | None:
        """Why it cannot be done: an output that needs an Identity and is of a kind that Identity does not take yet."""
        for output, value in self._identities(inner):
            for kind in (getattr(tensor, "type", None) or "tensor_type" for tensor in (output, value)):
                if opset < _IDENTITY_SINCE.get(kind, 1 << 31):
                    kind = kind.removesuffix("_type")
                    return f"'{output.name}' is a {kind}, which no Identity takes in opset {opset}"
        return None

    def _identities(self, inner: set[Node]) -> Iterator[tuple[Tensor, Tensor]]:
        taken: set[Tensor] = set()
        for output, value in self.pairs:
            if value.producer in inner and value not in taken and not self.given.get(value):
                taken.add(value)
            elif self.given.get(output):
                yield output, value

    def apply(self, inner: set[Node], scope: Graph, names: Names) -> list[Node]:
        """Bind them in `scope`, where the node that goes stood; return the Identity nodes that come behind the body."""
        wanted = dict(self._identities(inner))
        stands_for: dict[Tensor, Tensor] = {}
        identities = []
        for output, value in self.pairs:
            list.clear(output.inputs)
            now = stands_for.get(value, value)
            if output in wanted:
                identities.append(Node("Identity", names.fresh(f"{output.name}_identity"), {}, [now], [output]))
            elif now is value and value.producer in inner and not self.given.get(value):
                _put_in_place(output, value)
                _annotate(scope, value.name, output.name)
                names.drop([value.name])
                stands_for[value] = output
            else:
                rewire(output, now)
                _annotate(scope, output.name, now.name)
                names.drop([output.name])
        return identities


def _put_in_place(output: Tensor, value: Tensor) -> None:
    """Let `output` be what the producer of `value` makes."""
    if isinstance(output, Variable) and isinstance(value, Variable):
        if output.info is None and output.dtype is None and output.shape is None:
            output.dtype, output.shape, output.type, output.info = value.dtype, value.shape, value.type, value.info
        elif output.type == value.type:
            output.dtype = value.dtype if output.dtype is None else output.dtype
            output.shape = value.shape if output.shape is None else output.shape
    producer = value.producer
    producer.outputs[[tensor is value for tensor in producer.outputs].index(True)] = output
    rewire(value, output)


def _annotate(scope: Graph, old: str, new: str) -> None:
    if any(entry.tensor_name == old for entry in scope.quantization_annotation):
        entries = scope.quantization_annotation
        scope.quantization_annotation = [_annotation(entry, {old: new}) for entry in entries]


def rewire(old: Tensor, new: Tensor) -> None:
    """Let all nodes that read `old` read `new`."""
    for reader in dict.fromkeys(old.outputs):
        for index, tensor in enumerate(reader.inputs):
            if tensor is old:
                list.__setitem__(reader.inputs, index, new)
                list.append(new.outputs, reader)
    list.clear(old.outputs)
