"""Model files with their weights left where they are.

A model's own file is read without the data of its large initializers, and written with them copied from file to file:
it costs the memory of its graph. Protobuf's encoding is public and stable: a message is a run of fields, each a varint
tag (`number << 3 | wire type`) and a value (protobuf.dev, "Encoding"). Only the path ModelProto.graph (7),
GraphProto.initializer (5), TensorProto.raw_data (9) is looked at; everything else is passed on as it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, TypeAlias

from onnx import TensorProto

from onnxopt.ir.mapped_file import MappedFile
from onnxopt.ir.values import MappedValues

PROTOBUF_LIMIT = 2**31 - 1
"""Bytes of the longest message (protobuf.dev, "Proto Limits")."""
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_ODD = (3, 13, 14)
"""TensorProto.segment, external_data and data_location: a tensor that has one of these beside `raw_data` is parsed."""
_DATA_LOCATION = 14
_SAYS_DEFAULT = "says default"
"""Key that marks, in a reference of ours, a tensor which says that its data are where they are by default: onnx writes
so after it has loaded external data, and what a file says is not to be lost."""
_MOST_FIELDS = 100
"""A tensor with more, such as one that spells out each number, is parsed too: here that would take long."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIDTH = {_FIXED64: 8, _FIXED32: 4}
_SHORT = 0x7F
"""The largest number of one byte, as most tags and many lengths are."""


class Malformed(Exception):
    """The bytes are no protobuf message; the real parser will say so better."""


class _Field(NamedTuple):
    number: int
    wire: int
    start: int
    """Of the tag."""
    value: int
    """Of the value, behind tag and length."""
    end: int


def fields(data: memoryview, start: int, end: int) -> Iterator[_Field]:
    """The fields of the message in `data[start:end]`.

    Raises:
        Malformed: It is none.
    """
    at = start
    while at < end:
        tag, value = data[at], at + 1
        if tag > _SHORT:
            tag, value = _varint(data, at, end)
        wire = tag & 7
        if wire == _BYTES:
            if value < end and data[value] <= _SHORT:
                stop = value + 1 + data[value]
                value += 1
            else:
                length, value = _varint(data, value, end)
                stop = value + length
        elif wire == _VARINT:
            stop = _varint(data, value, end)[1]
        elif wire in _WIDTH:
            stop = value + _WIDTH[wire]
        else:
            raise Malformed
        if stop > end:
            raise Malformed
        yield _Field(tag >> 3, wire, at, value, stop)
        at = stop


def _varint(data: memoryview, at: int, end: int) -> tuple[int, int]:
    result = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
    raise Malformed


def _encoded(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _tagged(number: int, length: int) -> bytes:
    return _encoded(number << 3 | _BYTES) + _encoded(length)


@dataclass
class WeightsInPlace:
    """The weights that stay in a model's own file while the rest is parsed."""

    file: MappedFile
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    """Stands for "in this very file" where the parsed model would name a file; no file can guess it."""

    def skeleton(self, threshold: int) -> bytes:
        """The model without the `raw_data` of initializers of at least `threshold` bytes.

        Raises:
            Malformed: The file is no protobuf message.
        """
        data = self.file.view(0, self.file.size)
        return b"".join(self._model(data, threshold))

    def values(self, tensor: TensorProto) -> MappedValues | None:
        """Where the data of a tensor of the skeleton are; None where they are not in this file."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries.get("location") != self.token:
            return None
        header = _without_reference(tensor)
        return MappedValues(header, self.file, int(entries["offset"]), int(entries["length"]), in_model=True)

    def _model(self, data: memoryview, threshold: int) -> Iterator[bytes | memoryview]:
        for found in fields(data, 0, len(data)):
            if found.number == _GRAPH and found.wire == _BYTES:
                graph = list(self._graph(data, found, threshold))
                yield _tagged(_GRAPH, sum(map(len, graph)))
                yield from graph
            else:
                yield data[found.start : found.end]

    def _graph(self, data: memoryview, graph: _Field, threshold: int) -> Iterator[bytes | memoryview]:
        done = graph.value
        for found in fields(data, graph.value, graph.end):
            if found.number != _INITIALIZER or found.wire != _BYTES or found.end - found.value < threshold:
                continue
            parts = list(islice(fields(data, found.value, found.end), _MOST_FIELDS + 1))
            raw = [part for part in parts if part.number == _RAW_DATA]
            plain = [part for part in parts if part.number == _DATA_LOCATION and not data[part.value]]
            is_odd = len(parts) > _MOST_FIELDS or any(part.number in _ODD for part in parts if part not in plain)
            if is_odd or len(raw) != 1 or raw[0].end - raw[0].value < threshold:
                continue
            reference = self._reference(raw[0], bool(plain))
            tensor = (data[found.value : raw[0].start], data[raw[0].end : found.end], reference)
            yield data[done : found.start]
            yield _tagged(_INITIALIZER, sum(map(len, tensor)))
            yield from tensor
            done = found.end
        yield data[done : graph.end]

    def _reference(self, raw: _Field, says_default: bool) -> bytes:
        tensor = TensorProto(data_location=TensorProto.EXTERNAL)
        if says_default:
            tensor.external_data.add(key=_SAYS_DEFAULT)
        for key, value in (("location", self.token), ("offset", raw.value), ("length", raw.end - raw.value)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor.SerializeToString()


def _without_reference(tensor: TensorProto) -> TensorProto:
    header = TensorProto()
    header.CopyFrom(tensor)
    header.ClearField("data_location")
    if any(entry.key == _SAYS_DEFAULT for entry in tensor.external_data):
        header.data_location = TensorProto.DEFAULT
    del header.external_data[:]
    return header


class Misplaced(Exception):
    """Data are referred to where they cannot be put."""


Data: TypeAlias = memoryview | MappedValues
"""The bytes of `raw_data`, or where they lie."""
Piece: TypeAlias = bytes | Data


def length_of(piece: Piece) -> int:
    """Bytes that a piece takes in the file."""
    return piece.length if isinstance(piece, MappedValues) else len(piece)


@dataclass
class WeightsWriter:
    """Writes a model whose large weights are copied from the files that they lie in."""

    token: str = field(default_factory=lambda: secrets.token_hex(16))
    weights: list[Data] = field(default_factory=list)
    _placed: int = 0

    def refer(self, values: Data, out: TensorProto) -> None:
        """Let a TensorProto of the skeleton stand for data that are to be copied, from a file or from memory."""
        if out.HasField("data_location"):
            out.external_data.add(key=_SAYS_DEFAULT)
        out.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.token), ("offset", str(len(self.weights)))):
            out.external_data.add(key=key, value=value)
        self.weights.append(values)

    def pieces(self, skeleton: bytes) -> list[Piece]:
        """What to write one after the other: bytes, and values whose data are to be copied there.

        Raises:
            Misplaced: Something else than an initializer of the main graph refers to data.
        """
        data = memoryview(skeleton)
        self._placed = 0
        found: list[Piece] = []
        for field_ in fields(data, 0, len(data)):
            if field_.number == _GRAPH:
                graph = list(self._graph(data, field_))
                found += [_tagged(_GRAPH, sum(map(length_of, graph))), *graph]
            else:
                found.append(data[field_.start : field_.end])
        if self._placed != len(self.weights):
            raise Misplaced
        return found

    def _graph(self, data: memoryview, graph: _Field) -> Iterator[Piece]:
        done = graph.value
        for found in fields(data, graph.value, graph.end):
            if found.number != _INITIALIZER:
                continue
            tensor = TensorProto.FromString(bytes(data[found.value : found.end]))
            if tensor.data_location != TensorProto.EXTERNAL:
                continue
            entries = {entry.key: entry.value for entry in tensor.external_data}
            if entries.get("location") != self.token:
                continue
            values = self.weights[int(entries["offset"])]
            length = length_of(values)
            header = _without_reference(tensor).SerializeToString() + _tagged(_RAW_DATA, length)
            yield data[done : found.start]
            yield _tagged(_INITIALIZER, len(header) + length) + header
            yield values
            self._placed += 1
            done = found.end
        yield data[done : graph.end]
