"""The nodes of a graph, a row each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxopt.pipeline.instruments.provenance import BY
from onnxopt.report.node import declared, value_facts

if TYPE_CHECKING:
    from onnxopt import ir


@dataclass(frozen=True)
class Row:
    """One node."""

    operator: str
    name: str
    output: str
    """Name, type and shape of the first output."""
    made_by: str
    """The passes that made or changed it."""
    asked: str
    """The name by which `node_facts` finds it: its own, or that of its first output."""

    @property
    def searched(self) -> str:
        """What words are looked for in, in lower case."""
        return f"{self.operator} {self.name} {self.output} {self.made_by}".lower()


def rows_of(graph: ir.Graph) -> Iterator[Row]:
    """The nodes of all scopes, those of subgraphs behind the main graph's."""
    from onnxopt import ir

    for node in ir.every_node(graph):
        outputs = [tensor for tensor in node.outputs if tensor.name]
        told = node.metadata_props.get(BY, "").splitlines() if "_metadata_props" in node.__dict__ else []
        passes = ", ".join(dict.fromkeys(line.partition(": ")[0] for line in told))
        operator = node.op if node.is_standard else f"{node.domain}.{node.op}"
        output = declared(value_facts(outputs[0])) if outputs else ""
        yield Row(operator, node.name, output, passes, node.name or (outputs[0].name if outputs else ""))
