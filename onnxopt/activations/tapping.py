"""The float graph with more outputs: tensors inside it that somebody wants to see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import ModelProto, ValueInfoProto

from onnxopt import ir
from onnxopt.errors import BadOption
from onnxopt.ir.weights import weights

_IN_MEMORY = 64_000_000
"""Bytes of weights up to which a model is handed over in memory, where it stands twice for a moment. The weights of a
larger one go from file to file, and onnxruntime maps them."""


@contextmanager
def tapped(
    graph: ir.Graph, names: Sequence[str], edit: Callable[[ModelProto], None] | None = None
) -> Iterator[ModelProto | Path]:
    """The model of a graph with the tensors `names` as outputs, after its own: a proto, or a file during the block.

    The graph is left as it is. onnxruntime infers the types of outputs that declare none.

    Args:
        graph: A main graph.
        names: Tensors that nodes of it compute.
        edit: Changes the model instead of making `names` its outputs; weights may be missing there.

    Raises:
        BadOption: A name is that of no tensor that a node of the main graph computes.
    """
    computed = {tensor.name for node in graph.nodes for tensor in node.outputs if tensor.name}
    for name in names:
        if name not in computed:
            raise BadOption(f"no node of the main graph computes a tensor '{name}': it cannot be observed")
    present = {tensor.name for tensor in graph.outputs}

    def add_outputs(model: ModelProto) -> None:
        model.graph.output.extend(ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in present)

    change = edit or add_outputs
    if sum(constant.nbytes for constant in weights(graph)) <= _IN_MEMORY:
        model = ir.to_proto(graph)
        change(model)
        yield model
        return
    with TemporaryDirectory(prefix="onnxopt-") as folder:
        path = Path(folder) / "model.onnx"
        ir.save(graph, path, external=True, sync=False)
        header = onnx.load(path, load_external_data=False)
        change(header)
        onnx.save(header, path)
        yield path
