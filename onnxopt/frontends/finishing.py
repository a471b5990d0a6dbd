"""What is done to every lowered model: normalized, and at the opset that is asked for."""

from __future__ import annotations

from pathlib import Path

from onnx import defs

from onnxopt import ir
from onnxopt.errors import BadOption, OnnxoptError
from onnxopt.opsets import NEWEST, OLDEST
from onnxopt.pipeline.base import Context
from onnxopt.pipeline.manager import Manager
from onnxopt.pipeline.pipeline import parse_pipeline
from onnxopt.pipeline.registry import Registry


class NotFinished(OnnxoptError):
    """The model cannot be brought to the opset that is asked for."""


def finish(path: Path, opset: int | None) -> list[str]:
    """Normalize the model in a file, and convert it to an opset; return what the user should know.

    Raises:
        BadOption: There is no such opset.
        BadModel: It is no model.
        NotFinished: A node cannot be converted.
    """
    newest = min(NEWEST, defs.onnx_opset_version())
    if opset is not None and not OLDEST <= opset <= newest:
        raise BadOption(f"--opset {opset}: models are brought to opset {OLDEST} to {newest}")
    graph = ir.load(path)
    ctx = Context()
    # what is computed from constants has to be known to some conversions
    convert = "" if opset is None else f",fold-constants,convert-opset{{opset={opset}}}"
    Manager([]).run(graph, parse_pipeline(f"normalize{{overridable=false}}{convert}", Registry.installed()), ctx)
    if opset is not None and graph.opset != opset:
        reasons = [line for line in ctx.warnings if "stays at opset" in line]
        raise NotFinished(f"opset {opset}: {reasons[0] if reasons else f'it is of opset {graph.opset}'}")
    ir.save(graph, path)
    return list(ctx.warnings)
