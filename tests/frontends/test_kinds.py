"""What a source is, without opening it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from onnxopt.errors import BadModel, BadOption
from onnxopt.frontends.kinds import Kind, kind_of
from onnxopt.frontends.lowering import lower

ARCHIVES = {
    Kind.PROGRAM: ["m/models/model.json", "m/archive_format", "m/data/weights/weight_0"],
    Kind.TORCHSCRIPT: ["m/data.pkl", "m/code/__torch__.py", "m/constants.pkl", "m/version"],
    Kind.TORCH_PICKLE: ["m/data.pkl", "m/data/0", "m/version"],
    Kind.SKOPS: ["schema.json", "0.npy"],
}
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "zlib": zlib.compress,
    "zlib, fast": lambda data: zlib.compress(data, 1),
    "not at all": lambda data: data,
}


class Marking:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def archive(path: Path, entries: list[str]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for entry in entries:
            file.writestr(entry, b"{}")
    return path


@pytest.mark.parametrize("kind", ARCHIVES, ids=lambda kind: kind.name)
def test_an_archive_is_told_by_its_entries(kind: Kind, tmp_path: Path) -> None:
    assert kind_of(archive(tmp_path / "whatever.bin", ARCHIVES[kind])) is kind


def test_another_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="a zip archive that is none of these"):
        kind_of(archive(tmp_path / "m.zip", ["a.txt"]))
    (tmp_path / "cut.pt2").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(BadModel, match="a damaged zip archive"):
        kind_of(tmp_path / "cut.pt2")


@pytest.mark.parametrize("packed", COMPRESSED)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_unopened(packed: str, protocol: int, tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "model.onnx.joblib"
    path.write_bytes(COMPRESSED[packed](pickle.dumps(Marking(mark), protocol)))
    assert kind_of(path) is Kind.PICKLE
    with pytest.raises(BadOption, match="runs whatever code is in it; give --trust-pickle"):
        lower(path, tmp_path / "m.onnx")
    assert not mark.exists()
    pickle.loads(pickle.dumps(Marking(mark)))
    assert mark.exists()  # it would have been noticed


def test_what_else_there_is(tmp_path: Path) -> None:
    assert kind_of("package.module:function") is Kind.FUNCTION
    assert kind_of("no.onnx") is kind_of(tmp_path) is Kind.ONNX  # whose reader says what is wrong
    (tmp_path / "a:b").write_bytes(b"\x08\x08")
    assert kind_of(tmp_path / "a:b") is Kind.ONNX
