"""Masks on disk: what is written is read again, numpy reads and writes it too, and nothing else is taken."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxopt.errors import BadData, OnnxoptError
from onnxopt.pruning.mask_file import load_masks, save_masks
from onnxopt.pruning.masks import Mask, Masks

KEEP = np.random.default_rng(0).random((3, 4, 2)) < 0.5
MASKS = Masks([Mask("a/b.weight", "conv", KEEP), Mask("w:0", "fc", np.array([True, False]))])
LAYERS = {"a/b.weight": ("conv", (3, 4, 2)), "w:0": ("fc", (2,)), "other": ("out", (1,))}


def test_round_trip(tmp_path: Path) -> None:
    save_masks(MASKS, tmp_path / "m.npz")
    found = load_masks(tmp_path / "m.npz", LAYERS)
    assert [(each.weight, each.layer) for each in found] == [("a/b.weight", "conv"), ("w:0", "fc")]
    for each in MASKS:
        np.testing.assert_array_equal(found.get(each.weight).keep, each.keep)  # type: ignore[union-attr]


def test_equal_masks_make_equal_files(tmp_path: Path) -> None:
    save_masks(MASKS, tmp_path / "a.npz")
    save_masks(Masks(reversed(list(MASKS))), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_numpy_reads_and_writes_it(tmp_path: Path) -> None:
    save_masks(MASKS, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"a/b.weight", "w:0"} and arrays["a/b.weight"].dtype == bool
        held: dict[str, Any] = dict(arrays)
    np.savez(tmp_path / "n.npz", **held)
    assert len(load_masks(tmp_path / "n.npz", LAYERS)) == 2


def test_fortran_order_is_read(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"a/b.weight": np.asfortranarray(KEEP)}
    np.savez(tmp_path / "m.npz", **arrays)
    np.testing.assert_array_equal(load_masks(tmp_path / "m.npz", LAYERS).get("a/b.weight").keep, KEEP)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({}, "has no masks"),
        ({"none": np.ones(2, bool)}, "has a mask for 'none', and no weight of that name can be pruned here"),
        ({"w:0": np.ones(3, bool)}, r"the mask of 'w:0' is of shape \[3\], and the weight of \[2\]"),
        ({"w:0": np.ones((1, 2), bool)}, "is of shape"),
        ({"w:0": np.ones(2, np.float32)}, "holds float32; masks are bools"),
        ({"w:0": np.ones(2, np.uint8)}, "holds uint8; masks are bools"),
        ({"w:0": np.array([{}, {}])}, "holds object; masks are bools"),
        ({"w:0": np.array([(True,), (True,)], [("é", bool)])}, "is of NPY version|holds"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(BadData, match=reason) as error:
        load_masks(tmp_path / "m.npz", LAYERS)
    assert "\n" not in str(error.value)


def npy(array: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, array)
    return held.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("readme.txt", b"hello", "'readme.txt' is no array"),
        ("w:0.npy", npy(np.ones(2, bool))[:-1], "has not the 2 bytes"),
        ("w:0.npy", npy(np.ones(2, bool)) + b"more", "has not the 2 bytes"),
        ("w:0.npy", b"no array", "cannot be read as a file of masks"),
        ("w:0.npy", b"", "cannot be read as a file of masks"),
        ("w:0.npy", b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "cannot be read as a file of masks"),
    ],
)
def test_damaged_members(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr(name, content)
    with pytest.raises(BadData, match=reason):
        load_masks(tmp_path / "m.npz", LAYERS)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_twice_the_same_weight(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        for _ in range(2):
            archive.writestr("w:0.npy", npy(np.ones(2, bool)))
    with pytest.raises(BadData, match="is there twice"):
        load_masks(tmp_path / "m.npz", LAYERS)


def test_a_cut_file(tmp_path: Path) -> None:
    save_masks(MASKS, tmp_path / "m.npz")
    whole = (tmp_path / "m.npz").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "m.npz").write_bytes(whole[:length])
        with pytest.raises(BadData, match=r"cannot be read as a file of masks|has no masks"):
            load_masks(tmp_path / "m.npz", LAYERS)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="cannot be read as a file of masks: No such file"):
        load_masks(tmp_path / "m.npz", LAYERS)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(BadData, match="is no file of masks"):
            load_masks(path, LAYERS)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OnnxoptError, match="none"):
        save_masks(MASKS, tmp_path / "none" / "m.npz")
