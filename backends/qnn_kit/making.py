"""From a graph and its samples to the folder."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxopt import ir
from onnxopt.backends.qnn_kit.encodings import Encodings, of_ranges
from onnxopt.backends.qnn_kit.float_graph import float_graph
from onnxopt.backends.qnn_kit.float_graph import problems_of as problems_of_integers
from onnxopt.backends.qnn_kit.naming import with_plain_names
from onnxopt.backends.qnn_kit.place import ENCODINGS, MODEL, README, SCRIPT, replacing_folder
from onnxopt.backends.qnn_kit.raws import Header, RawFiles, RawWriter
from onnxopt.backends.qnn_kit.script import Script
from onnxopt.data import DataSet, ValueSpec
from onnxopt.data.raw_input import is_storable
from onnxopt.errors import BadOption
from onnxopt.pipeline.backend import Artifact, Problem
from onnxopt.quantization.encoding import Encoding
from onnxopt.quantization.range_file import load_ranges

if TYPE_CHECKING:
    from onnxopt.backends.qnn_kit import QnnKit

_NEWEST = 22
"""The opset to which QAIRT 2.39 documents its ONNX converter."""
VERIFIED = "the samples read back as the same arrays; nothing ran with Qualcomm's SDK or on a device"


def problems_of(graph: ir.Graph) -> list[Problem]:
    """What cannot be in a kit."""
    odd = [
        Problem(f"input '{tensor.name}'", "raw files are for tensors of numbers, of a type that the model declares")
        for tensor in _fed(graph)
        if tensor.type != "tensor_type" or not is_storable(tensor.dtype)
    ]
    return odd + problems_of_integers(graph)


def make(kit: QnnKit, graph: ir.Graph, path: Path, data: DataSet) -> Artifact:
    """Write the folder, atomically.

    Raises:
        BadOption: There is no layer or tensor of a name that is to be given out.
        BadData: A sample or the file of ranges does not fit.
        OnnxoptError: The folder cannot be written.
    """
    encodings, plain, left_out = _in_float(kit, graph)
    renamed = with_plain_names(plain)
    found = Encodings.of(encodings)
    header = _header(kit, plain, renamed)
    fed = [ValueSpec(tensor.name, "tensor", tensor.dtype) for tensor in _fed(graph)]
    writer = RawWriter(kit.layout, kit.native, kit.samples, renamed)
    with replacing_folder(path) as folder:
        raw = writer.write(folder, data, fed, header)
        for tensor in _fed(plain):
            (of,) = [each.of for each in raw.inputs if each.name == tensor.name]
            tensor.shape = list(raw.shapes[of])
        ir.save(plain, folder / MODEL)
        if found:
            (folder / ENCODINGS).write_text(found.text(), "utf-8")
        script = folder / SCRIPT
        script.write_text(_script(kit, raw, found, bool(header.lines())), "utf-8")
        script.chmod(0o755)
        (folder / README).write_text(files("onnxopt.backends.qnn_kit").joinpath(README).read_text("utf-8"), "utf-8")
    return Artifact(path, _facts(kit, raw, found, renamed, left_out), tuple(_notes(plain, found, left_out)))


def _fed(graph: ir.Graph) -> list[Any]:
    """Inputs that a caller has to feed."""
    return [tensor for tensor in graph.inputs if tensor.default is None]


def _in_float(kit: QnnKit, graph: ir.Graph) -> tuple[dict[ir.Tensor, Encoding], ir.Graph, Counter[str]]:
    found = float_graph(graph)
    encodings = found.encodings
    if kit.ranges is not None:
        if encodings:
            raise BadOption("ranges is for a model in float, and this one is quantized: it has its encodings")
        seen = load_ranges(kit.ranges, ir.fingerprint(graph))
        encodings = of_ranges(seen, found.graph, kit.activation_bits)
    return encodings, found.graph, found.left_out


def _header(kit: QnnKit, graph: ir.Graph, renamed: dict[str, str]) -> Header:
    nodes = {node.name for node in ir.every_node(graph)}
    made = {tensor.name for node in ir.every_node(graph) for tensor in node.outputs}
    tensors = [renamed.get(name, name) for name in kit.output_tensors]
    for what, names, known in (("operator", kit.output_layers, nodes), ("tensor", tensors, made)):
        for name in names:
            if name not in known:
                raise BadOption(f"the model that is emitted has no {what} '{name}' to be given out")
    return Header(kit.output_layers, tensors)


def _script(kit: QnnKit, raw: RawFiles, found: Encodings, headed: bool) -> str:
    return Script(
        kit.flow,
        kit.runtime,
        kit.hexagon,
        kit.layout,
        kit.native,
        raw.images,
        raw.others,
        bool(found),
        found.per_channel,
        kit.activation_bits,
        headed,
    ).text()


def _facts(
    kit: QnnKit, raw: RawFiles, found: Encodings, renamed: dict[str, str], left_out: Counter[str]
) -> dict[str, Any]:
    return {
        "flow": kit.flow,
        "runtime": kit.runtime,
        "layout": kit.layout,
        "samples": raw.samples,
        "raw_inputs": {
            each.name: {"input": each.of, "shape": raw.shapes[each.of], "stored": str(each.stored)}
            for each in raw.inputs
        },
        "renamed": renamed,
        "encodings": {
            "activations": len(found.activations),
            "weights": len(found.weights),
            "left_out": dict(left_out),
        },
        "verified_kit": VERIFIED,
    }


def _notes(graph: ir.Graph, found: Encodings, left_out: Counter[str]) -> list[str]:
    notes = ["qnn-kit: nothing of it ran with Qualcomm's SDK, whose terms apply: see its README.txt"]
    if not found:
        notes.append("qnn-kit: the model has no encodings: the SDK's quantizer finds them all on the samples")
    for reason, count in left_out.items():
        if not reason.startswith("biases"):
            notes.append(f"qnn-kit: {count} encodings were left out: {reason}")
    if graph.opset > _NEWEST:
        notes.append(
            f"qnn-kit: the model has opset {graph.opset}, and QAIRT 2.39 documents {_NEWEST} at most: convert-opset"
        )
    return notes
