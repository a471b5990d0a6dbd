"""The note that tells how raw files lie."""

import json

import ml_dtypes
import numpy as np
import pytest

from onnxopt.data import ValueSpec, open_data
from onnxopt.data.raw_input import NOTE, RawInput, inputs_in, is_storable, note_of
from onnxopt.errors import BadData

FLOAT = np.dtype(np.float32)
LAST = RawInput("x", "x/0", (2, 3, 4), (1, 2, 0), FLOAT, FLOAT)


def write(folder, text=None, samples=1):
    for number in range(samples):
        array = np.arange(24, dtype=np.float32).reshape(2, 3, 4) + number
        LAST.written(array).tofile(folder / f"{number}.raw")
    (folder / "input_list.txt").write_text("".join(f"{number}.raw\n" for number in range(samples)))
    (folder / NOTE).write_text(note_of([LAST]) if text is None else text)


def test_the_note_is_read_as_it_was_written(tmp_path):
    other = RawInput("b", "a b", (), (), np.dtype(bool), np.dtype(ml_dtypes.bfloat16))
    (tmp_path / NOTE).write_text(note_of([LAST, other]))
    assert inputs_in(tmp_path) == (LAST, other)


@pytest.mark.parametrize("name", ["x/0", "x"])
def test_samples_are_put_back_in_order(tmp_path, name):
    write(tmp_path, samples=2)
    data = open_data(tmp_path / "input_list.txt", [ValueSpec(name, "tensor", FLOAT, ("N", 2, 3, 4))])
    (feeds,) = data.batches(2)
    assert np.array_equal(feeds[name].ravel(), np.concatenate([np.arange(24), np.arange(24) + 1]))


@pytest.mark.parametrize("text", ["{}", "[1]", '{"format": "of others", "inputs": 3}'])
def test_a_file_of_another_program_says_nothing(tmp_path, text):
    (tmp_path / NOTE).write_text(text)
    assert inputs_in(tmp_path) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [2, -3, 4]}, {"shape": [2, True, 4]}, {"axes": [0, 1]}, {"axes": [0, 0, 1]}, {"stored": "object"},
        {"dtype": "float8"}, {"name": 3}, {"shape": 3}, {"shape": [2.0, 3, 4]},
    ],
)  # fmt: skip
def test_a_damaged_note_is_refused(tmp_path, change):
    document = json.loads(note_of([LAST]))
    document["inputs"][0] |= change
    write(tmp_path, json.dumps(document))
    with pytest.raises(BadData, match=r"inputs\.json is damaged"):
        inputs_in(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"format": "onnxopt raw inputs", "version": 2}', "[" * 100_000, "\xff"])
def test_what_is_no_json_is_refused(tmp_path, text):
    (tmp_path / NOTE).write_bytes(text.encode("latin-1"))
    with pytest.raises(BadData, match=r"inputs\.json is damaged"):
        inputs_in(tmp_path)


def test_a_file_of_another_size_is_refused(tmp_path):
    write(tmp_path)
    np.zeros(5, np.float32).tofile(tmp_path / "0.raw")
    with pytest.raises(BadData, match=r"holds 5 float32, and inputs\.json says that input 'x/0' is \[2, 3, 4\]"):
        open_data(tmp_path, [ValueSpec("x/0", "tensor", FLOAT, (1, 2, 3, 4))])


def test_another_model_is_told_what_does_not_fit(tmp_path):
    write(tmp_path)
    with pytest.raises(BadData, match=r"takes float32\[1, 9\], a sample is float32\[2, 3, 4\]"):
        open_data(tmp_path, [ValueSpec("x", "tensor", FLOAT, (1, 9))])


@pytest.mark.parametrize(
    ("value", "stored"),
    [(np.int64(2**24 + 1), "float32"), (np.float32(0.1), "float16"), (np.int32(300), "uint8"), (np.int64(-1), "uint8"),
     (np.float64(0.1), "float32"), (np.int32(2**31 - 1), "float32")],
)  # fmt: skip
def test_what_would_be_lost_is_refused(value, stored):
    raw = RawInput("x", "x", (), (), np.dtype(stored), value.dtype)
    with pytest.raises(BadData, match=f"and {stored} cannot hold it"):
        raw.written(value)


def test_the_note_is_kept_out_of_npy(tmp_path):
    write(tmp_path)
    np.save(tmp_path / "0.npy", np.ones((2, 3, 4), np.float32))
    (tmp_path / "input_list.txt").write_text("0.npy\n")
    (sample,) = open_data(tmp_path, [ValueSpec("x", "tensor", FLOAT, (1, 2, 3, 4))]).samples()
    assert sample["x"].sum() == 24


def test_types_that_files_can_hold():
    assert is_storable(np.dtype(bool)) and is_storable(np.dtype(ml_dtypes.bfloat16))
    assert not is_storable(np.dtype(object)) and not is_storable(None) and not is_storable(np.dtype(ml_dtypes.int4))
