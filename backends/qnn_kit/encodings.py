"""Encodings as AIMET writes them and Qualcomm's converters take them by `--quantization_overrides`: format 0.6.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxopt import ir, strict_json
from onnxopt.quantization.encoding import Encoding, Integer
from onnxopt.quantization.ranges import Ranges

VERSION = "0.6.1"


@dataclass(frozen=True)
class Encodings:
    """By name of a tensor of the model in the kit: one dict for all of it, or one for each output channel."""

    activations: Mapping[str, list[dict[str, Any]]]
    weights: Mapping[str, list[dict[str, Any]]]

    @classmethod
    def of(cls, encodings: Mapping[ir.Tensor, Encoding]) -> Encodings:
        """Those of tensors as they are called now."""
        found: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        for tensor, encoding in encodings.items():
            found[isinstance(tensor, ir.Constant)][tensor.name] = entries(encoding)
        return cls(*found)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.activations or self.weights)

    @property
    def per_channel(self) -> bool:
        """Whether a weight has several."""
        return any(len(each) > 1 for each in self.weights.values())

    def text(self) -> str:
        """The JSON."""
        document = {
            "version": VERSION,
            "activation_encodings": dict(sorted(self.activations.items())),
            "param_encodings": dict(sorted(self.weights.items())),
        }
        return strict_json.dumps(document) + "\n"


def entries(encoding: Encoding) -> list[dict[str, Any]]:
    """An encoding in the format's terms: x = scale (q + offset), q unsigned; `min` and `max` are the grid's ends.

    A signed integer q with zero point z is the unsigned q + 2^(bits-1) with z + 2^(bits-1), of which the offset is the
    negative.
    """
    name = encoding.integer.name
    bits = int(name.lstrip("uint"))
    shift = 0 if name.startswith("u") else 1 << (bits - 1)
    found = []
    pairs = zip(np.ravel(encoding.scale), np.ravel(encoding.zero_point).astype(np.int64), strict=True)
    for scale, zero in ((float(scale), int(zero)) for scale, zero in pairs):
        offset = -(zero + shift)
        found.append(
            {
                "bitwidth": bits,
                "dtype": "int",
                "is_symmetric": str(encoding.integer.symmetric),
                "max": scale * (offset + (1 << bits) - 1),
                "min": scale * offset,
                "offset": offset,
                "scale": scale,
            }
        )
    return found


def of_ranges(ranges: Ranges, graph: ir.Graph, bits: int) -> dict[ir.Tensor, Encoding]:
    """Asymmetric encodings of the activations that have a calibrated range, one for each tensor."""
    integer = Integer(f"uint{bits}", symmetric=False)
    tensors = [tensor for scope in ir.every_graph(graph) for tensor in _activations(scope)]
    return {
        tensor: Encoding.of_range(np.min(seen.low), np.max(seen.high), integer)
        for tensor in dict.fromkeys(tensors)
        if (seen := ranges.by_name.get(tensor.name)) is not None
    }


def _activations(scope: ir.Graph) -> list[ir.Tensor]:
    made = [tensor for node in scope.nodes for tensor in node.outputs if tensor.name]
    return [tensor for tensor in (*scope.inputs, *made) if not isinstance(tensor, ir.Constant)]
