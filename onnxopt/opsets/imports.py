"""Which opsets a model imports: each domain once, and the default domain where a node needs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import OperatorSetIdProto, defs, helper

from onnxopt.ir.graph import Graph
from onnxopt.ir.node import DEFAULT_DOMAINS, Node
from onnxopt.ir.schema import find_schema


def default_version(root: Graph) -> int | None:
    """The one version of the default domain that a main graph or a function means; None where its nodes fit none.

    Where several are imported, the last of those whose schemas all nodes fit: onnxruntime keeps the last
    (onnxruntime/core/graph/model.cc). Where none is, the newest such version: onnxruntime takes its newest.
    """
    declared = [int(entry.version) for entry in root.import_domains or () if entry.domain in DEFAULT_DOMAINS]
    candidates: Iterable[int] = (
        dict.fromkeys(reversed(declared)) if declared else range(defs.onnx_opset_version(), 0, -1)
    )
    nodes = list(_standard_nodes(root))
    if declared and len(set(declared)) == 1:
        return declared[0]
    return next((version for version in candidates if all(_fits(node, version) for node in nodes)), None)


def clean_imports(root: Graph, version: int) -> list[OperatorSetIdProto]:
    """The imports of a main graph or a function with each domain once, the default one as "" and at `version`.

    Of another domain that is imported twice the last entry counts, as for onnxruntime.
    """
    found: dict[str, int] = {}
    for entry in root.import_domains or ():
        found["" if entry.domain in DEFAULT_DOMAINS else entry.domain] = int(entry.version)
    if "" in found or any(True for _ in _standard_nodes(root)):
        found[""] = version
    return [helper.make_opsetid(domain, number) for domain, number in found.items()]


def _standard_nodes(root: Graph) -> Iterator[Node]:
    for scope in (root, *root.subgraphs(recursive=True)):
        yield from (node for node in scope.nodes if node.is_standard)


def _fits(node: Node, version: int) -> bool:
    schema = find_schema(node.op, "", version)
    if schema is None or schema.deprecated:
        return False
    if any(name not in schema.attributes for name in node.attrs):
        return False
    if any(attribute.required and name not in node.attrs for name, attribute in schema.attributes.items()):
        return False
    return (
        schema.min_input <= len(node.inputs) <= schema.max_input
        and schema.min_output <= len(node.outputs) <= schema.max_output
    )
