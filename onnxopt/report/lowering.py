"""How a source became an ONNX model, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnxopt.data.spec import show_shape
from onnxopt.report.text import cell

if TYPE_CHECKING:
    from rich.console import RenderableType

    from onnxopt import ir
    from onnxopt.frontends.wanted import Lowered


def lowering_json(lowered: Lowered, graph: ir.Graph) -> dict[str, Any]:
    """The exporter, the interface, and by how much each output differs from the source's."""
    from onnxopt import ir

    return {
        "by": lowered.by,
        "opset": graph.opset,
        "nodes": sum(len(scope.nodes) for scope in ir.every_graph(graph)),
        "inputs": [_declared(tensor) for tensor in graph.inputs],
        "outputs": [_declared(tensor) for tensor in graph.outputs],
        "compared": lowered.compared or None,
        "differences": {
            found.output: {"absolute": found.largest_absolute, "relative": found.largest_relative}
            for found in lowered.differences
        },
        "notes": list(lowered.notes),
    }


def lowering_view(name: str, facts: dict[str, Any]) -> RenderableType:
    """The same as a panel of at most 100 columns."""
    from rich.panel import Panel
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    rows = [("by", facts["by"]), ("opset", f"{facts['opset']}, {facts['nodes']} nodes")]
    for what in ("inputs", "outputs"):
        rows += [(what, f"{one['name']}  {one['dtype']}{show_shape(one['shape'])}") for one in facts[what]]
    if facts["compared"]:
        rows.append(("compared on", facts["compared"]))
    for output, found in facts["differences"].items():
        differs = f"differs by {found['absolute']:.3g}, {found['relative']:.2g} of its range"
        rows.append(("difference", f"{output}  {differs if found['absolute'] else 'equal'}"))
    seen = ""
    for title, text in rows:
        table.add_row(cell("" if title == seen else title, "bold", 24), cell(text, "", 70))
        seen = title
    return Panel(table, title=cell(name, "bold", 80), title_align="left", expand=False, padding=(1, 2))


def _declared(tensor: ir.Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": str(tensor.dtype),
        "shape": None if tensor.shape is None else list(tensor.shape),
    }
