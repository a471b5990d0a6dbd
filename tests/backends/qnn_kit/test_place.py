"""The folder of a kit: whole or not at all, and in place of nothing but a kit."""

import sys

import numpy as np
import pytest

from onnxopt import ir
from onnxopt.backends.qnn_kit import making, place
from onnxopt.errors import BadData, BadOption, OnnxoptError
from onnxopt.pipeline.backend import Emission, backend_of
from tests.backends.qnn_kit import kits


def make(path, count=1, options=""):
    return kits.make(kits.image(), kits.samples_for(kits.image(), kits.images(count)), path, options)


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_in_it(tmp_path):
    make(tmp_path / "kit")
    names = ["README.txt", "input_list.txt", "inputs.json", "model.onnx", "raw", "run.sh"]
    assert sorted(path.name for path in (tmp_path / "kit").iterdir()) == names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kit", "kit.json"]
    readme = " ".join((tmp_path / "kit/README.txt").read_text().split())
    assert "NOTHING here ran with Qualcomm's SDK or on a device" in readme and "Qualcomm's terms apply" in readme
    assert "Whether snpe-net-run loads DLCs that onnxopt writes itself (--emit qnn) is not known" in readme


@pytest.mark.parametrize("at_once", [True, False])
def test_it_takes_the_place_of_a_kit_and_of_what_it_built(tmp_path, monkeypatch, at_once):
    if not at_once:
        monkeypatch.setattr(place, "_exchanged", lambda *_: False)
    make(tmp_path / "kit", 3)
    (tmp_path / "kit/build").mkdir()
    make(tmp_path / "kit", 1)
    assert len(list((tmp_path / "kit/raw").iterdir())) == 1
    assert not (tmp_path / "kit/build").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kit", "kit.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")
def test_there_is_always_a_kit_on_linux(tmp_path, monkeypatch):
    """The new folder and the old one change places in one step: nothing is renamed away first."""
    make(tmp_path / "kit", 2)

    def never(*_):
        raise AssertionError("there would be no kit for a moment")

    monkeypatch.setattr(place.Path, "rename", never)
    make(tmp_path / "kit", 1)
    assert len(list((tmp_path / "kit/raw").iterdir())) == 1


def test_the_old_kit_comes_back_where_the_second_rename_fails(tmp_path, monkeypatch):
    make(tmp_path / "kit", 2)
    before = content(tmp_path)
    rename = place.Path.rename

    def failing(self, target):
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(place, "_exchanged", lambda *_: False)
    monkeypatch.setattr(place.Path, "rename", failing)
    with pytest.raises(OnnxoptError, match="Input/output error; what was there is unchanged"):
        make(tmp_path / "kit", 1)
    assert content(tmp_path) == before


@pytest.mark.parametrize("fails", ["data", "model"])
def test_the_old_kit_is_whole_where_the_new_one_fails(tmp_path, monkeypatch, fails):
    make(tmp_path / "kit", 2)
    before = content(tmp_path)
    samples = kits.images(2)
    if fails == "data":
        samples[1]["x"][0, 0, 0] = np.inf
    else:

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(making.ir, "save", full)
    with pytest.raises(BadData if fails == "data" else OnnxoptError):
        kits.make(kits.image(), kits.samples_for(kits.image(), samples), tmp_path / "kit")
    assert content(tmp_path) == before


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "kit").mkdir()
    make(tmp_path / "kit")
    assert (tmp_path / "kit/run.sh").exists()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("photos", "photos has files in it and is no kit"),
        ("kept", "kept is a kit with 'results.txt' in it, which would be lost"),
        ("file", "file is there and is none"),
        ("link", "link is there and is none"),
        ("nowhere/kit", "there is no folder"),
    ],
)
def test_other_things_are_left_alone(tmp_path, name, error):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/run.sh").touch()
    make(tmp_path / "kept")
    (tmp_path / "kept/results.txt").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    before = content(tmp_path)
    with pytest.raises(BadOption, match=error):
        Emission.parse(f"qnn-kit={tmp_path / name}")
    assert content(tmp_path) == before


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_path_without_a_name(name):
    with pytest.raises(BadOption):
        Emission.parse(f"qnn-kit={name}")


def test_it_is_no_model_and_no_dlc(tmp_path):
    make(tmp_path / "kit")
    assert backend_of(tmp_path / "kit") is None
    assert ir.load(tmp_path / "kit/model.onnx").inputs[0].name == "x"
