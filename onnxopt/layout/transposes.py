"""The Transposes of one scope: of which tensor each gives another layout."""

from __future__ import annotations

from collections.abc import Iterator

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.node import DEFAULT_DOMAINS, Node
from onnxopt.ir.schema import find_schema
from onnxopt.ir.tensor import Tensor, Variable
from onnxopt.layout.move import Facts
from onnxopt.layout.permutation import Perm, compose, is_identity


class Transposes:
    """What stands where in one scope."""

    def __init__(self, edit: Edit, scope: Graph, facts: Facts, nodes: list[Node], kept: set[Node]) -> None:
        self.edit, self.scope, self.facts = edit, scope, facts
        self.nodes = dict.fromkeys(nodes)
        """In order."""
        self.kept = kept
        """Those that stay as they are, with what they read and give."""
        self.home: set[Node] = set(scope.nodes)
        self.annotated = {note.tensor_name for note in scope.quantization_annotation}
        """Tensors whose quantization the file tells by name: they stay what they are."""
        self._overridden = {function.name for function in edit.main.functions if function.domain in DEFAULT_DOMAINS}

    def is_whole(self, node: Node, opset: int) -> bool:
        """Whether a node is of the standard operator of its name, and has what the checker asks for."""
        schema = find_schema(node.op, None, opset) if node.is_standard and node.op not in self._overridden else None
        return schema is not None and len(node.inputs) >= schema.min_input

    def perm(self, node: Node) -> Perm | None:
        """The permutation of a Transpose of this scope; None where it is not certain, or not to be touched."""
        if node not in self.nodes or node in self.kept or self.edit.was_removed(node):
            return None
        return known_perm(node, self.facts)

    def root(self, tensor: Tensor) -> tuple[Tensor, Perm | None]:
        """The tensor of which this one is a Transpose, and by which permutation; itself and None where it is none."""
        total: Perm | None = None
        while (producer := tensor.producer) is not None and (perm := self.perm(producer)) is not None:
            total = perm if total is None else compose(perm, total)
            tensor = producer.inputs[0]
        return tensor, total

    def of(self, root: Tensor) -> Iterator[tuple[Node, Perm]]:
        """The Transposes of a tensor, and of those; each with the permutation from the tensor itself."""
        pending: list[tuple[Tensor, Perm | None]] = [(root, None)]
        while pending:
            tensor, total = pending.pop()
            for reader in list(dict.fromkeys(tensor.outputs)):
                perm = self.perm(reader)
                if perm is not None and reader.inputs[0] is tensor:
                    whole = perm if total is None else compose(total, perm)
                    yield reader, whole
                    pending.append((reader.outputs[0], whole))

    def uses(self, tensor: Tensor) -> Iterator[tuple[Node, int]]:
        """The nodes of all scopes that read a tensor, and as which input, Transposes that may be touched left out."""
        for reader in dict.fromkeys(tensor.outputs):
            if self.perm(reader) is None:
                for index, given in enumerate(reader.inputs):
                    if given is tensor:
                        yield reader, index

    def is_needed(self, tensor: Tensor) -> bool:
        """Whether anybody but such a Transpose reads a tensor, or a graph gives it out."""
        return self.edit.is_output(tensor) or next(self.uses(tensor), None) is not None

    def add(self, node: Node) -> None:
        """Take note of a Transpose that was made."""
        self.nodes[node] = None
        self.home.add(node)

    def insert(self, root: Tensor, perm: Perm, reader: Node) -> Variable:
        """A new Transpose of a tensor, for a node that reads it."""
        shape = root.shape if isinstance(root, Variable) else None
        fits = shape is not None and len(shape) == len(perm)
        new = Variable(self.edit.fresh(f"{root.name}_transposed"), root.dtype)
        new.shape = [shape[axis] for axis in perm] if fits and shape is not None else None
        self.facts.learn(new, root, perm)
        node = Node("Transpose", self.edit.fresh(f"{root.name}_transpose"), {"perm": list(perm)}, [root], [new])
        self.edit.insert_before(reader, node)
        self.add(node)
        return new

    def respell(self, node: Node, tensor: Tensor, perm: Perm) -> None:
        """Let a Transpose be another one, of another tensor; where it would do nothing, the tensor takes its place."""
        output = node.outputs[0]
        if is_identity(perm) and self.edit.obstacle(output, tensor) is None:
            self.edit.replace_all_uses(output, tensor)
            self.edit.remove(node)
            return
        if is_identity(perm):
            node.op, node.attrs, node.attr_shells = "Identity", {}, None
            self.nodes.pop(node)
        else:
            node.attrs["perm"] = list(perm)
        self.edit.replace_input(node, 0, tensor)
        self.edit.changed = True

    def remove_unread(self, node: Node) -> None:
        """Remove a Transpose that nobody reads, and those before it that nobody reads then."""
        current: Node | None = node
        while current is not None and current in self.nodes and not self.edit.was_removed(current):
            if self.edit.is_used(current.outputs[0]):
                return
            before = current.inputs[0].producer
            self.edit.remove(current)
            current = before if before is not None and before.op == "Transpose" and before not in self.kept else None


def known_perm(node: Node, facts: Facts) -> Perm | None:
    """The permutation of a Transpose: by default, the axes are reversed."""
    perm = node.attr("perm")
    if isinstance(perm, list):
        return tuple(perm) if sorted(perm) == list(range(len(perm))) else None
    rank = facts.rank(node.inputs[0]) if perm is None and node.inputs else None
    return None if rank is None else tuple(reversed(range(rank)))
