"""Ranges in a file: JSON that people read, and that is tied to the graph that it was made of."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from onnxopt import strict_json
from onnxopt.atomic import replacing
from onnxopt.errors import BadData
from onnxopt.quantization.observers import METHODS
from onnxopt.quantization.ranges import Floats, Range, Ranges

FORMAT = "onnxopt ranges"
VERSION = 1
LARGEST = 64_000_000
"""Bytes of a file that is still read."""
_LONGEST = 1 << 20
"""Channels of one tensor."""
_ENDS = ("low", "high", "seen_low", "seen_high")
_SHOWN = 12
"""Letters of a fingerprint that tell two apart in a message."""


def save_ranges(ranges: Ranges, path: str | Path) -> None:
    """Write ranges, atomically.

    Raises:
        OnnxoptError: It cannot be written; what was there before is unchanged.
    """
    tensors = {name: _written(one) for name, one in ranges.by_name.items()}
    document = {
        "format": FORMAT,
        "version": VERSION,
        "fingerprint": ranges.fingerprint,
        "method": ranges.method,
        "samples": ranges.samples,
        "remarks": ranges.remarks,
        "tensors": tensors,
    }
    with replacing(path) as file:
        file.write(strict_json.dumps(document).encode() + b"\n")


def load_ranges(path: str | Path, fingerprint: str) -> Ranges:
    """Read ranges that were made of the graph with this fingerprint.

    Raises:
        BadData: There is no such file, it is no file of ranges or too large, of another version, or of another graph.
    """
    document = _document(Path(path))
    version = document.get("version")
    if document.get("format") != FORMAT:
        raise BadData(f"{path} is no file of ranges: --save-ranges writes one")
    if version != VERSION:
        raise BadData(f"{path} is of version {version!r}, and version {VERSION} is read here: calibrate again")
    if (found := document.get("fingerprint")) != fingerprint:
        raise BadData(
            f"{path} was calibrated on another graph ({str(found)[:_SHOWN]}, and this is {fingerprint[:_SHOWN]}): "
            "put calibrate behind the same passes, or calibrate again"
        )
    try:
        return _parsed(document, fingerprint)
    except ValueError as error:
        raise BadData(f"{path} is damaged: {error}; calibrate again") from error


def _written(one: Range) -> dict[str, Any]:
    ends = {key: getattr(one, key).tolist() for key in _ENDS}
    return {**ends, **({} if one.axis is None else {"axis": one.axis}), "saturated": one.saturated}


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise BadData(f"cannot read the ranges {path}: {error.strerror or error}") from error
    if len(text) > LARGEST:
        raise BadData(f"{path} has over {LARGEST // 1_000_000} MB: that is no file of ranges")
    try:
        document = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # no UTF-8 is a ValueError too
        raise BadData(f"{path} is no file of ranges: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(document, dict):
        raise BadData(f"{path} is no file of ranges: --save-ranges writes one")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _parsed(document: dict[str, Any], fingerprint: str) -> Ranges:
    tensors, method, samples, remarks = (document.get(key) for key in ("tensors", "method", "samples", "remarks"))
    if not isinstance(tensors, dict) or method not in METHODS or not _is_count(samples):
        raise ValueError("tensors, method or samples are missing or wrong")
    if not isinstance(remarks, list) or not all(isinstance(remark, str) for remark in remarks):
        raise ValueError("the remarks are no list of texts")
    ranges = {name: _range(name, entry) for name, entry in tensors.items()}
    return Ranges(ranges, str(method), int(samples or 0), fingerprint, tuple(remarks))


def _range(name: str, entry: Any) -> Range:
    if not isinstance(entry, dict) or set(entry) - {"axis"} != {*_ENDS, "saturated"}:
        raise ValueError(f"the range of '{name[:100]}' has not low, high, seen_low, seen_high and saturated")
    axis, saturated = entry.get("axis"), entry["saturated"]
    if axis is not None and (type(axis) is not int or not -64 <= axis < 64):
        raise ValueError(f"the axis of '{name[:100]}' is none")
    if type(saturated) not in (int, float) or not 0 <= saturated <= 1:
        raise ValueError(f"the saturated share of '{name[:100]}' is not between 0 and 1")
    low, high, seen_low, seen_high = (_numbers(name, key, entry[key], axis) for key in _ENDS)
    if not low.shape == high.shape == seen_low.shape == seen_high.shape:
        raise ValueError(f"the ends of '{name[:100]}' are not equally many")
    if not ((seen_low <= low) & (low <= high) & (high <= seen_high)).all():
        raise ValueError(f"the ends of '{name[:100]}' are not in order: seen_low <= low <= high <= seen_high")
    return Range(low, high, seen_low, seen_high, axis, float(saturated))


def _numbers(name: str, key: str, value: Any, axis: int | None) -> Floats:
    """One number, or for ranges of channels a list of them."""
    given = [value] if axis is None else value
    if not isinstance(given, list) or not 0 < len(given) <= _LONGEST:
        raise ValueError(f"{key} of '{name[:100]}' is no list of numbers, one a channel")
    for number in given:
        if type(number) not in (int, float) or not _is_finite(number):
            raise ValueError(f"{key} of '{name[:100]}' is no finite number")
    return np.array(value, np.float64)


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond any float
        return False


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 53
