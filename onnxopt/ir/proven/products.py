"""Rules of matrix products."""

from __future__ import annotations

from onnxopt.ir.node import Node
from onnxopt.ir.proven.elementwise import broadcast_dims
from onnxopt.ir.proven.extents import joined
from onnxopt.ir.proven.facts import Dims, Facts, Open, int_of


def gemm(node: Node, facts: Facts) -> Open | None:
    """Gemm."""
    flags = [int_of(node, name, 0) for name in ("transA", "transB")]
    if None in flags:
        return (None, None)
    rows, columns = (
        None if dims is None or len(dims) != 2 else dims for dims in (facts.dims(node, 0), facts.dims(node, 1))
    )
    return (rows[bool(flags[0])] if rows else None, columns[not flags[1]] if columns else None)


def matmul(node: Node, facts: Facts) -> Dims | None:
    """MatMul and MatMulInteger, as numpy.matmul."""
    return _matmul(facts.dims(node, 0), facts.dims(node, 1))


def qlinear_matmul(node: Node, facts: Facts) -> Dims | None:
    """QLinearMatMul."""
    return _matmul(facts.dims(node, 0), facts.dims(node, 3))


def _matmul(left: Dims | None, right: Dims | None) -> Dims | None:
    if not left or not right:
        return None
    rows = left[-2:-1]  # of a vector, none
    columns = right[-1:] if len(right) > 1 else ()
    return (*broadcast_dims([left[:-2], right[:-2]]), *rows, *columns)


def einsum(node: Node, facts: Facts) -> Dims | None:
    """Einsum without an ellipsis."""
    equation = node.attrs.get("equation")
    if not isinstance(equation, str) or "." in equation:
        return None
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(node.inputs):
        return None
    sizes: dict[str, object] = {}
    for term, tensor in zip(terms, node.inputs, strict=True):
        dims = facts.dims_of(tensor)
        if dims is None or len(dims) != len(term):
            return None
        for label, dim in zip(term, dims, strict=True):
            sizes[label] = joined(sizes[label], dim) if label in sizes else dim  # type: ignore[arg-type]
    letters = left.replace(",", "")
    wanted = right if arrow else "".join(sorted(label for label in sizes if letters.count(label) == 1))
    return tuple(sizes[label] for label in wanted) if all(label in sizes for label in wanted) else None  # type: ignore[misc]
