"""The models of onnx's own conformance tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx


def model_of(case: Any) -> onnx.ModelProto:
    """The model of a test case: which cases hold theirs, and which name a folder, differs between versions of onnx."""
    model: onnx.ModelProto = case.model or onnx.load(Path(str(case.model_dir)) / "model.onnx")
    return model
