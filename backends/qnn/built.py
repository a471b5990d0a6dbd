"""What the libraries built of a graph, as their own dump of it tells: operators, types, inputs, outputs, encodings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from onnxopt.backends.qnn.trace import graph_of
from onnxopt.errors import OnnxoptError

_TYPES = {
    0x0008: "int8", 0x0016: "int16", 0x0032: "int32", 0x0064: "int64",
    0x0108: "uint8", 0x0116: "uint16", 0x0132: "uint32", 0x0164: "uint64",
    0x0216: "float16", 0x0232: "float32", 0x0264: "float64",
    0x0304: "quantized int4", 0x0308: "quantized int8", 0x0316: "quantized int16", 0x0332: "quantized int32",
    0x0404: "quantized uint4", 0x0408: "quantized uint8", 0x0416: "quantized uint16", 0x0432: "quantized uint32",
    0x0508: "bool",
}  # fmt: skip
"""Qnn_DataType_t of QnnTypes.h."""
_INPUT, _OUTPUT, _NATIVE, _STATIC = 0, 1, 3, 4
"""Qnn_TensorType_t: written by the application, read by it, between operators, constant."""
_PER_TENSOR, _PER_CHANNEL = 0, 1
"""Qnn_QuantizationEncoding_t."""


class Built:
    """The graph of a dump (`trace.graph_of`)."""

    def __init__(self, dump: dict[str, Any]) -> None:
        self._tensors: dict[str, dict[str, Any]] = dump["graph"]["tensors"]
        self._nodes: dict[str, dict[str, Any]] = dump["graph"]["nodes"]

    @property
    def inputs(self) -> list[str]:
        """Names of its inputs: those that an operator reads."""
        return self._names(_INPUT)

    @property
    def outputs(self) -> list[str]:
        """Names of its outputs, in no order to rely on."""
        return self._names(_OUTPUT)

    @property
    def narrowed(self) -> list[str]:
        """Inputs and outputs of int64, which HTP computes in int32."""
        return [name for name in (*self.inputs, *self.outputs) if self._type(name) == "int64"]

    @property
    def computes_float(self) -> bool:
        """Whether it has floats between operators, and not at its inputs and outputs alone."""
        return any(self._type(name).startswith("float") for name in self._names(_NATIVE))

    def facts(self) -> dict[str, Any]:
        """What the sidecar says of it."""
        return {
            "graph_inputs": [self._value(name) for name in self.inputs],
            "graph_outputs": [self._value(name) for name in self.outputs],
            "operators": dict(Counter(node["type"] for node in self._nodes.values()).most_common()),
            "activation_types": self._counted(_NATIVE),
            "constant_types": self._counted(_STATIC),
        }

    def _names(self, kind: int) -> list[str]:
        return [name for name, tensor in self._tensors.items() if tensor["type"] == kind]

    def _counted(self, kind: int) -> dict[str, int]:
        return _counted(self._type(name) for name in self._names(kind))

    def _type(self, name: str) -> str:
        code = self._tensors[name]["data_type"]
        return _TYPES.get(code, f"type {code:#06x}")

    def _value(self, name: str) -> dict[str, Any]:
        tensor = self._tensors[name]
        found = {"name": name, "dtype": self._type(name), "shape": tensor["dims"]}
        encoding = tensor.get("quant_params", {})
        if encoding.get("encoding") == _PER_TENSOR:
            offset = encoding["scale_offset"]
            found["encoding"] = {"scale": offset["scale"], "zero_point": -offset["offset"]}
        elif encoding.get("encoding") == _PER_CHANNEL:
            found["encoding"] = "per channel"
        return found


def built_in(folder: Path) -> Built:
    """The graph that was built there.

    Raises:
        OnnxoptError: The libraries left no dump of it.
    """
    dump = graph_of(folder)
    if dump is None:
        raise OnnxoptError("Qualcomm's libraries left no description of the graph that they built; nothing was written")
    return Built(dump)


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())
