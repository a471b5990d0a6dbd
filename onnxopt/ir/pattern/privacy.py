"""What holds for every match before its rule is asked: one scope, private interiors, no shape widened."""

from __future__ import annotations

from onnxopt.ir.edit import Edit
from onnxopt.ir.graph import Graph
from onnxopt.ir.known import known_value
from onnxopt.ir.matching import NoMatch
from onnxopt.ir.node import Node
from onnxopt.ir.pattern.match import Match
from onnxopt.ir.pattern.solver import Solver
from onnxopt.ir.pattern.terms import Known
from onnxopt.ir.tensor import Tensor

_BROADCAST = frozenset(
    {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"}
    | {"Equal", "And", "Or", "Xor", "Sum", "Mean", "PRelu"}
)


class Shared(NoMatch):
    """An interior is read by others too; it may not be later, when those are gone."""


def require_one_scope(match: Match, homes: dict[Node, Graph]) -> None:
    """Refuse nodes of another scope than the root's.

    Raises:
        NoMatch: One is.
    """
    for node in match.nodes:
        if (homes.get(node) or match.edit.scope_of(node)) is not match.scope:
            raise NoMatch(f"{node.label} is outside the subgraph")


def require_private(match: Match) -> None:
    """Refuse interiors that others need: read by nodes outside the match, given out, or annotated.

    Raises:
        NoMatch: One is.
    """
    nodes = match.nodes
    inside = set(nodes)
    annotated = {note.tensor_name for note in match.scope.quantization_annotation}
    for node in nodes:
        for tensor in node.outputs:
            if tensor.name and not (node is match.root and tensor is node.outputs[0]):
                _require_private_tensor(match.edit, tensor, inside)
                if tensor.name in annotated:
                    raise NoMatch(f"'{tensor.name}' has a quantization annotation")
        if node.shell is not None and node.shell.device_configurations:
            raise NoMatch(f"{node.label} has a device configuration")


def _require_private_tensor(edit: Edit, tensor: Tensor, inside: set[Node]) -> None:
    if edit.is_output(tensor):
        raise NoMatch(f"'{tensor.name}' is a graph output")
    uses = edit.uses(tensor)
    own = uses if uses == 1 and tensor.outputs[0] in inside else _uses_by(inside, tensor)
    if own != uses:
        raise Shared(f"'{tensor.name}' is read {uses - own} times by nodes outside the pattern")


def _uses_by(nodes: set[Node], tensor: Tensor) -> int:
    return sum(1 for node in nodes for given in node.inputs if given is tensor)


def require_no_widening(match: Match, solver: Solver) -> None:
    """Refuse single numbers written with axes, [1] say, which may add an axis to what they are combined with.

    Raises:
        NoMatch: It is not certain that the other operand has as many axes.
    """
    numbers = [tensor for term, tensor in solver.tensors.items() if isinstance(term, Known) and term.single]
    wide = [tensor for tensor in dict.fromkeys(numbers) if _rank(tensor)]
    if not wide:
        return
    for node in match.nodes:
        if node.op in _BROADCAST:
            for tensor in wide:
                if any(given is tensor for given in node.inputs):
                    _require_rank(match, node, tensor)


def _rank(number: Tensor) -> int:
    """The axes of a constant of one element; what is certain of other shapes is not asked for it."""
    value = known_value(number)
    return 0 if value is None else value.ndim


def _require_rank(match: Match, node: Node, number: Tensor) -> None:
    rank = _rank(number)
    others = [tensor for tensor in node.inputs if tensor is not number]
    shapes = [match.shapes.shape(tensor) for tensor in others]
    if not any(shape is not None and len(shape) >= rank for shape in shapes):
        raise NoMatch(
            f"'{number.name}' of shape {[1] * rank} may add an axis: "
            f"the rank of '{others[0].name if others else number.name}' is not certain"
        )
