"""The builder's own report of the layers of an engine, out of its log.

With `ProfilingVerbosity.DETAILED` a VERBOSE log ends in a block `Layers:`, one record a layer:

    Name: N, LayerType: T, Inputs: [ { Name: N, Dimensions: [..], ..., Datatype: D, Format: F }, ..], Constants: [..],
    Outputs: [..], ..., Metadata: [ONNX Layer: NODE][ONNX Layer: NODE]

It is text for people, and nothing in it is quoted: names may hold commas, brackets and braces, so records are read from
one known key to the next, and what cannot be read is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnxopt.backends.tensorrt import precisions
from onnxopt.backends.tensorrt.naming import with_names

if TYPE_CHECKING:
    from onnxopt import ir

_BLOCK = re.compile(r"^[^\n]*\bLayers:[ \t]*\n(?=Name: )", re.MULTILINE)
_END = re.compile(r"\n[ \t]*\n")
_RECORDS = re.compile(r"\n(?=Name: )")
_WEIGHTS = re.compile(r"\bTotal Weights Memory: (\d+) bytes")
_OPTIMUM = re.compile(
    r"^ Name: (.*), IOMode: Input, .*? ProfileInfo: \[ \{ MinShape: \[[\d,]*\], OptShape: \[([\d,]*)\]", re.MULTILINE
)
"""After the layers: what the first profile says of an input."""
_HEAD = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<type>[\w ]+), (?=Inputs: \[)", re.DOTALL)
_LIST = re.compile(r"(Inputs|Constants|Outputs): \[")
_INTEGERS = r"\[[-\d, ]*\]"
_TENSOR = re.compile(
    r",? ?\{ Name: (?P<name>(?:(?!\}, \{ Name: |\], (?:Constants|Outputs): \[).)*?), "
    rf"(?:Location: \w+, )?Dimensions: \[(?P<shape>[-\d, ]*)\], (?:Strides: {_INTEGERS}, )?"
    rf"(?:StrideOrder: {_INTEGERS}, )?(?:Datatype: (?P<dtype>\w+), )?Format(?:/Datatype)?: (?P<format>[^{{}}]*?) ?\}}",
    re.DOTALL,
)
_METADATA = re.compile(r", Metadata: (.*)\Z", re.DOTALL)
_BETWEEN = re.compile(r"[\x1e\x1f]|(?<=\])(?=\[ONNX Layer: )")
"""Stands between the nodes of one layer; older builders write none."""
_NODE = re.compile(r"\s*\[ONNX Layer: (.*)\]\s*", re.DOTALL)
_MERGED = re.compile(r"(?: \[profile \d+\])?_myl\d+_\d+\Z")
"""What the builder adds to the name of a node, where it names a layer after one."""

_DTYPES = {
    "float": "float32", "fp32": "float32", "half": "float16", "fp16": "float16", "bf16": "bfloat16",
    "fp8": "float8", "fp4": "float4",
}  # fmt: skip
"""The builder's word, in small letters: the name that everybody uses. The others are those names themselves."""
_OLD_FORMAT = re.compile(r"\b(FP32|FP16|BF16|FP8|FP4|INT4|INT8|UINT8|INT32|INT64|BOOL)\b", re.IGNORECASE)
"""Before there was a `Datatype`, it stood in `Format/Datatype: Row major linear FP16 format`."""


@dataclass(frozen=True)
class LayerTensor:
    """What a layer reads or writes, or a constant of it."""

    name: str
    dtype: str
    """`float32`, `float16`, `bfloat16`, `float8`, `int8`, ...; `unknown` where the log does not say."""
    shape: tuple[int, ...]
    """-1 where it is dynamic."""

    def to_json(self) -> dict[str, Any]:
        """As the sidecar has it."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}


@dataclass(frozen=True)
class EngineLayer:
    """One layer of an engine, for one of its profiles."""

    name: str
    type: str
    """The builder's word: `correlation` (a convolution), `gemm`, `kgen` and `runtime_fusion` (generated kernels)."""
    inputs: tuple[LayerTensor, ...]
    constants: tuple[LayerTensor, ...]
    outputs: tuple[LayerTensor, ...]
    onnx_nodes: tuple[str, ...]
    """Of the model, by name; none where the builder does not say."""

    @property
    def named_after(self) -> tuple[str, ...]:
        """The nodes that its name may tell: `A+B_myl0_7` is the nodes A and B in one, or one node of that name."""
        name = _MERGED.sub("", self.name)
        return (name, *name.split("+"))

    def to_json(self) -> dict[str, Any]:
        """As the sidecar has it."""
        tensors = {key: [each.to_json() for each in getattr(self, key)] for key in ("inputs", "constants", "outputs")}
        return {"name": self.name, "type": self.type, "onnx_nodes": list(self.onnx_nodes), **tensors}


@dataclass(frozen=True)
class LayerReport:
    """All layers of an engine, in the order in which they run, profile by profile."""

    layers: tuple[EngineLayer, ...] = ()
    weight_bytes: int | None = None
    """What the builder calls the total weights memory; None where the log does not say."""
    unread: int = 0
    """Records that are not of the form known here."""
    optimum: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By input: the shape that the first profile is optimized for; where it is static, that shape."""

    def facts(self, graph: ir.Graph) -> dict[str, Any]:
        """What the sidecar has of it: `weight_memory` (bytes), `layers`, `precisions`, and `layers_not_read` if any.

        Args:
            graph: What the engine was built of, as `building.attempt` was given it; it is left as it is.
        """
        named = with_names(graph.copy())
        found = {
            "weight_memory": self.weight_bytes,
            "layers": [layer.to_json() for layer in self.layers],
            "precisions": precisions.of(named, self.layers, self.optimum),
        }
        return found | ({"layers_not_read": self.unread} if self.unread else {})


def layers_of(log: str) -> LayerReport:
    """The layers that a builder's log tells of; an empty report where it tells of none.

    Args:
        log: All of its messages, one a line, the more verbose ones too; a severity may stand before each.
    """
    weights = _WEIGHTS.findall(log)
    found: list[EngineLayer] = []
    unread = 0
    for record in _records(log):
        layer = _layer(record)
        if layer is None:
            unread += 1
        else:
            found.append(layer)
    optimum = {match[1]: _ints(match[2]) for match in _OPTIMUM.finditer(log)}
    return LayerReport(tuple(found), int(weights[-1]) if weights else None, unread, optimum)


def _records(log: str) -> Iterator[str]:
    """The records of the last block: that of the engine. A name may hold a line break."""
    starts = [match.end() for match in _BLOCK.finditer(log)]
    if not starts:
        return
    end = _END.search(log, starts[-1])
    block = log[starts[-1] : end.start() if end else len(log)]
    yield from (record for record in _RECORDS.split(block.rstrip("\n")) if record)


def _layer(record: str) -> EngineLayer | None:
    head = _HEAD.match(record)
    if head is None:
        return None
    at, lists = head.end(), dict[str, tuple[LayerTensor, ...]]()
    while title := _LIST.match(record, at):
        tensors, at = _tensors(record, title.end())
        if not record.startswith("]", at):
            return None
        lists[title[1]] = tensors
        at += 3 if record.startswith("], ", at) else 1
    if "Inputs" not in lists or "Outputs" not in lists:
        return None
    metadata = _METADATA.search(record, at)
    nodes = _nodes(metadata[1] if metadata else "")
    constants = lists.get("Constants", ())
    return EngineLayer(head["name"], head["type"], lists["Inputs"], constants, lists["Outputs"], nodes)


def _tensors(record: str, at: int) -> tuple[tuple[LayerTensor, ...], int]:
    """The tensors of a list that begins there, and where it ends."""
    found: list[LayerTensor] = []
    while match := _TENSOR.match(record, at):
        dtype = match["dtype"] or (old[0] if (old := _OLD_FORMAT.search(match["format"])) else "unknown")
        found.append(LayerTensor(match["name"], _DTYPES.get(dtype.lower(), dtype.lower()), _ints(match["shape"])))
        at = match.end()
    return tuple(found), at


def _ints(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(",") if each.strip())


def _nodes(metadata: str) -> tuple[str, ...]:
    matches = (_NODE.fullmatch(each) for each in _BETWEEN.split(metadata))
    return tuple(dict.fromkeys(match[1] for match in matches if match))
