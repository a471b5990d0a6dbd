"""The modern form of the `build_engine` that everybody copies from tutorials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onnxopt.api import run
from onnxopt.pipeline.backend import Artifact, Emission, backend_class
from onnxopt.pipeline.options import build, format_options
from onnxopt.pipeline.values import format_value
from onnxopt.report.summary import Summary

if TYPE_CHECKING:
    from onnxopt.data import DataSet

_PASSES = "O3,legalize-tensorrt,O2"
"""All that is lossless, then what TensorRT refuses said otherwise."""


def build_engine(
    onnx_path: str | Path,
    engine_path: str | Path,
    workspace: int = 1 << 30,
    precision: Literal["fp32", "fp16", "bf16", "int8", "fp8", "int4"] = "fp16",
    *,
    shapes: Mapping[str, str] | None = None,
    data: str | Path | DataSet | None = None,
    passes: str = _PASSES,
) -> Artifact:
    """Build a TensorRT engine of an ONNX model, and write it with its sidecar, `ENGINE.json`.

    There are no builder flags and no calibrators: the precision is put into the graph, by our passes.

    Args:
        onnx_path: The model, which is left as it is.
        engine_path: Where the engine goes: `m.engine`, `m.plan`.
        workspace: Bytes of scratch memory that a layer may take.
        precision: What it computes in; int8 needs data, fp8 and int4 are for the weights alone.
        shapes: By input of dynamic shape, which it may have: `{"input": "1x3x224x224..8x3x224x224"}`.
        data: Calibration samples, also run by the verification: anything that `--data` takes.
        passes: What is done with the graph before.

    Raises:
        BadModel, BadData, BadPipeline, BadOption: What was given cannot be used; every node that TensorRT refuses is
            named.
        CheckFailed: An output changed by more than the passes promise.
        OnnxoptError: TensorRT crashed or took too long, or the engine cannot be written; what was there before is.
    """
    given = format_value(dict(shapes or {}), dict[str, str])
    options = {"precision": precision, "workspace": str(workspace), "shapes": given}
    backend = build(backend_class("tensorrt"), options)
    path = Path(engine_path)
    backend.require_usable(path)
    emission = Emission(backend, f"tensorrt{format_options(backend)}", path)
    result = run(onnx_path, passes, data=data, target="tensorrt")
    (artifact,) = result.write(None, [emission], Summary.of(result).about())
    return artifact
