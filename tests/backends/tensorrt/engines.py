"""Models and calls for the tests of engines."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import parser

from onnxopt import ir
from onnxopt.pipeline.backend import Emission

needs_builder = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="pip install 'onnxopt[tensorrt]'"
)
FIXTURES = Path(__file__).parents[3] / "fixtures"
DIGITS = FIXTURES / "digits_mobilenet"
BEAUTY = FIXTURES / "tinybeauty"
RELU = "g (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }"
OPEN = "g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"


def model(text: str, opset: int = 17) -> onnx.ModelProto:
    """A model from its text."""
    return parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')


def graph(text: str, opset: int = 17) -> ir.Graph:
    """A graph from its text."""
    return ir.from_proto(model(text, opset))


def emit(text: str, path: Path, options: str = "") -> dict[str, Any]:
    """The sidecar of an engine of a graph."""
    Emission.parse(f"tensorrt{{{options}}}={path}").write(graph(text), {})
    return sidecar(path)


def sidecar(path: Path) -> dict[str, Any]:
    """What stands beside an engine."""
    found: dict[str, Any] = json.loads(path.with_name(path.name + ".json").read_text())
    return found
