"""Types and shapes of every value: what follows from the interface and the operators, then what the file declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from onnx import TypeProto, ValueInfoProto

from onnxopt.errors import BadModel
from onnxopt.ir.collector import gc_paused
from onnxopt.ir.dtypes import same
from onnxopt.ir.graph import Graph
from onnxopt.ir.skeleton import NOTHING, Derived, Facts, Skeleton, is_open
from onnxopt.ir.tensor import Dim, Shape, Tensor, Variable


@dataclass(frozen=True)
class Contradiction:
    """A declaration that cannot be true, given the model's inputs and operators."""

    tensor: Variable
    declared: Facts
    inferred: Facts
    is_interface: bool
    """Whether it declares an output of the model: that is the interface, and stays as it is."""

    def __str__(self) -> str:
        what = "output" if self.is_interface else "value"
        return f"{what} '{self.tensor.name}' is declared {self.declared}, but {self.inferred} follows from the inputs"


@dataclass(frozen=True)
class Inference:
    """What inference found; nothing of it is in the graph yet."""

    found: dict[Variable, Facts]
    """New facts, of the values whose declaration they change."""
    contradictions: list[Contradiction] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Why nothing is known of some values, or of any: one line each, naming the node."""
    types: dict[Tensor, TypeProto] = field(default_factory=dict, repr=False)
    """Full types of sequences, optionals and maps."""

    def declare(self, tensor: Variable) -> None:
        """Put what was found of one value into the graph."""
        facts = self.found[tensor]
        tensor.dtype, tensor.shape, tensor.type = facts.dtype, facts.shape, facts.kind
        if tensor in self.types:
            info = ValueInfoProto(name=tensor.name)
            if tensor.info is not None:
                info.CopyFrom(tensor.info)
            info.type.CopyFrom(self.types[tensor])
            tensor.info = info


def infer_shapes(graph: Graph) -> Inference:
    """Infer and declare the types and shapes of all values of a main graph and its subgraphs; change nothing else.

    A value that a declaration contradicts is declared as it follows; an output of the model keeps its declaration,
    and so does everything that inference cannot derive. Symbols are kept; onnx's invented ones (`unk__0`) are not taken
    over. Weights are not read, so the model may exceed 2 GB. Values in function bodies have no one shape and stay as
    they are; what calls give out is inferred. A model that onnx cannot process is left as it is (`problems` says why).
    """
    inference = infer(graph)
    for tensor in inference.found:
        inference.declare(tensor)
    return inference


def infer(graph: Graph) -> Inference:
    """What `infer_shapes` would declare; the graph is left as it is."""
    try:
        all_facts, first, last = derive(graph)
    except BadModel as error:
        return Inference({}, problems=[str(error)])
    found, contradictions = {}, []
    interface = set(graph.outputs)
    for tensor, facts in all_facts.items():
        declared = declaration(tensor)
        if declared != facts or not same(declared.dtype, facts.dtype):  # for numpy, None is float64
            found[tensor] = facts
        if tensor in first.facts and not _agree(declared, first.facts[tensor]):
            contradictions.append(Contradiction(tensor, declared, first.facts[tensor], tensor in interface))
    return Inference(found, contradictions, last.problems, last.types)


@gc_paused()
def derive(graph: Graph, dims: Mapping[str, int] | None = None) -> tuple[dict[Variable, Facts], Derived, Derived]:
    """All that can be known of every value; what follows without the file's declarations; and what follows with them.

    Args:
        graph: A main graph, with its nodes in order.
        dims: Numbers for symbols, and for unnamed dimensions of inputs as `input[axis]`.

    Raises:
        BadModel: onnx cannot process the model at all.
    """
    skeleton = Skeleton(graph, dims)
    first = last = skeleton.infer()
    declared = {tensor: bound(declaration(tensor), dims or {}) for tensor in _values(graph)}
    open_ = {
        tensor: merge(facts, last.facts.get(tensor, NOTHING))
        for tensor, facts in declared.items()
        if _adds(facts, last.facts.get(tensor, NOTHING))
    }
    if open_:
        skeleton.declare(open_)
        last = skeleton.infer()
    interface = set(graph.outputs) | {tensor for scope in graph.subgraphs(recursive=True) for tensor in scope.inputs}
    return (
        {
            tensor: (_merge_interface if tensor in interface else merge)(facts, last.facts.get(tensor, NOTHING))
            for tensor, facts in declared.items()
        },
        first,
        last,
    )


def declaration(tensor: Variable) -> Facts:
    """What is declared of a value."""
    if tensor.dtype is None and tensor.shape is None and (tensor.info is None or tensor.type == "tensor_type"):
        return NOTHING
    shape = tensor.shape
    if shape is not None and any(type(dim) is not int or dim < 0 for dim in shape):
        shape = [None if is_open(dim) else dim for dim in shape]
    return Facts(tensor.dtype, shape, tensor.type)


def bound(facts: Facts, dims: Mapping[str, int]) -> Facts:
    """The same facts with numbers for symbols."""
    if not dims or facts.shape is None:
        return facts
    return facts._replace(shape=[dims.get(dim, dim) if isinstance(dim, str) else dim for dim in facts.shape])


def _values(graph: Graph) -> Iterator[Variable]:
    for scope in (graph, *graph.subgraphs(recursive=True)):
        own = () if scope is graph else scope.inputs
        for tensor in (*own, *(tensor for node in scope.nodes for tensor in node.outputs)):
            if tensor.name and isinstance(tensor, Variable):
                yield tensor


def _agree(declared: Facts, inferred: Facts) -> bool:
    """Whether both can be true. A number is no match for a symbol of the interface, which any number may take."""
    if declared.kind and inferred.kind and declared.kind != inferred.kind:
        return False
    if declared.dtype is not None and inferred.dtype is not None and declared.dtype != inferred.dtype:
        return False
    if declared.shape is None or inferred.shape is None:
        return True
    return len(declared.shape) == len(inferred.shape) and not any(
        isinstance(one, int) and other is not None and one != other
        for one, other in zip(declared.shape, inferred.shape, strict=True)
    )


def _adds(declared: Facts, inferred: Facts) -> bool:
    """Whether a declaration says what inference leaves open."""
    if declared.kind != "tensor_type" or inferred.kind not in (None, "tensor_type"):
        return declared.kind is not None and inferred.kind is None
    if declared.dtype is not None and inferred.dtype is None:
        return True
    if declared.shape is None or inferred.shape is None:
        return declared.shape is not None
    return len(declared.shape) == len(inferred.shape) and any(
        one is not None and other is None for one, other in zip(declared.shape, inferred.shape, strict=True)
    )


def merge(declared: Facts, inferred: Facts) -> Facts:
    """What follows wins; what is open is taken from the declaration."""
    if declared.kind and inferred.kind and declared.kind != inferred.kind:
        return inferred
    return Facts(
        declared.dtype if inferred.dtype is None else inferred.dtype,
        _merge_shapes(declared.shape, inferred.shape),
        declared.kind if inferred.kind is None else inferred.kind,
    )


def _merge_shapes(declared: Shape | None, inferred: Shape | None) -> Shape | None:
    if declared is None or inferred is None:
        return declared if inferred is None else inferred
    if len(declared) != len(inferred):
        return inferred
    return [_merge_dims(one, other) for one, other in zip(declared, inferred, strict=True)]


def _merge_dims(declared: Dim, inferred: Dim) -> Dim:
    if inferred is None or (isinstance(declared, str) and isinstance(inferred, str)):
        return declared  # of two symbols for one number, the file's
    return inferred


def _merge_interface(declared: Facts, inferred: Facts) -> Facts:
    """The declaration stands; only what it leaves open is filled in."""
    if declared.kind and inferred.kind and declared.kind != inferred.kind:
        return declared
    shape = declared.shape
    if shape is None:
        shape = inferred.shape
    elif inferred.shape is not None and len(inferred.shape) == len(shape):
        shape = [other if one is None else one for one, other in zip(shape, inferred.shape, strict=True)]
    return Facts(
        inferred.dtype if declared.dtype is None else declared.dtype,
        shape,
        declared.kind or inferred.kind,
    )
