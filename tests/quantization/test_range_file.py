"""Ranges on disk: what is written is read again, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxopt.errors import BadData, OnnxoptError
from onnxopt.quantization import range_file
from onnxopt.quantization.range_file import load_ranges, save_ranges
from onnxopt.quantization.ranges import Range, Ranges


def number(value: float) -> np.ndarray:
    return np.array(value, np.float64)


ONE = Range(number(-0.1), number(2.5), number(-1), number(3), None, 0.01)
CHANNELS = Range(*(np.array([a, b], np.float64) for a, b in ((-1, 0), (1, 1 / 3), (-1, 0), (2, 1))), axis=1)
RANGES = Ranges({"x": ONE, "/a/b": CHANNELS}, "mse", 256, "f" * 32, ("'x' is always 3",))


def test_round_trip(tmp_path: Path) -> None:
    save_ranges(RANGES, tmp_path / "r.json")
    found = load_ranges(tmp_path / "r.json", RANGES.fingerprint)
    assert (found.method, found.samples, found.fingerprint, found.remarks) == (
        "mse",
        256,
        "f" * 32,
        ("'x' is always 3",),
    )
    assert list(found.by_name) == ["x", "/a/b"]
    for name, one in RANGES.by_name.items():
        other = found.by_name[name]
        assert (one.axis, one.saturated) == (other.axis, other.saturated)
        for key in ("low", "high", "seen_low", "seen_high"):
            ours, theirs = getattr(one, key), getattr(other, key)
            assert ours.shape == theirs.shape and ours.dtype == theirs.dtype and (ours == theirs).all()


def document(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "r.json"
    save_ranges(RANGES, path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"x": {"low": -1, "high": 1, "seen_low": -1, "seen_high": 1, "saturated": 0, **changes}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "ranges"}, "is no file of ranges"),
        ({"version": 2}, "is of version 2, and version 1 is read here: calibrate again"),
        ({"version": None}, "is of version None"),
        ({"fingerprint": "0" * 32}, r"another graph \(000000000000, and this is ffffffffffff\)"),
        ({"method": "guess"}, "method or samples are missing or wrong"),
        ({"samples": -1}, "missing or wrong"),
        ({"samples": True}, "missing or wrong"),
        ({"tensors": []}, "missing or wrong"),
        ({"remarks": [1]}, "no list of texts"),
        ({"tensors": {"x": 3}}, "the range of 'x' has not low, high"),
        ({"tensors": entry(more=1)}, "the range of 'x' has not low, high"),
        ({"tensors": entry(low="0")}, "low of 'x' is no finite number"),
        ({"tensors": entry(low=True)}, "low of 'x' is no finite number"),
        ({"tensors": entry(high=10**400)}, "high of 'x' is no finite number"),
        ({"tensors": entry(low=[0])}, "low of 'x' is no finite number"),
        ({"tensors": entry(low=2)}, "not in order"),
        ({"tensors": entry(high=2)}, "not in order"),
        ({"tensors": entry(saturated=2)}, "not between 0 and 1"),
        ({"tensors": entry(axis=1)}, "low of 'x' is no list of numbers"),
        ({"tensors": entry(axis="1")}, "the axis of 'x' is none"),
        ({"tensors": entry(axis=1, low=[0, 0], high=[1], seen_low=[0], seen_high=[1])}, "not equally many"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadData, match=reason) as caught:
        load_ranges(document(tmp_path, **changes), RANGES.fingerprint)
    assert "\n" not in str(caught.value) and "r.json" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", "\xff", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000, '{"format": "onnxopt ranges"}'],
)
def test_no_json_of_ours(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadData, match=r"r\.json"):
        load_ranges(path, RANGES.fingerprint)


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_file, "LARGEST", 100)
    with pytest.raises(BadData, match="that is no file of ranges"):
        load_ranges(document(tmp_path), RANGES.fingerprint)


def test_no_such_file_and_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"cannot read the ranges .*none\.json: No such file"):
        load_ranges(tmp_path / "none.json", RANGES.fingerprint)
    with pytest.raises(OnnxoptError, match="cannot write"):
        save_ranges(RANGES, tmp_path / "none" / "r.json")
