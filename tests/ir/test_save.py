"""Saving replaces a model, its external data included, in one step, and harms no other model."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import EncodeError
from onnx import ModelProto, StringStringEntryProto, TensorProto, helper, numpy_helper

from onnxopt import ir
from onnxopt.errors import BadModel, OnnxoptError

SAVE = import_module("onnxopt.ir.save")


def graph_of(value: float, size: int = 512) -> ir.Graph:
    """y = x + w; every element of w is `value`."""
    info = helper.make_tensor_value_info
    weights = numpy_helper.from_array(np.full(size, value, np.float32), "w")
    return ir.from_proto(
        helper.make_model(
            helper.make_graph(
                [helper.make_node("Add", ["x", "w"], ["y"])],
                "g",
                [info("x", TensorProto.FLOAT, [size])],
                [info("y", TensorProto.FLOAT, [size])],
                [weights],
            )
        )
    )


def value_of(path: Path) -> float:
    weights = ir.load(path).constants[0].read()
    assert (weights == weights[0]).all()
    return float(weights[0])


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with external data, alone in its folder."""
    ir.save(graph_of(1), tmp_path / "m.onnx", external=True)
    assert entries(tmp_path) == ["m.onnx", "m.onnx.data"]
    return tmp_path / "m.onnx"


def test_saving_over_the_model_itself_takes_another_name_for_the_data_and_removes_the_old(model: Path) -> None:
    for expected in ("m.onnx.1.data", "m.onnx.data", "m.onnx.1.data"):
        graph = ir.load(model)
        assert graph.constants[0].is_stored
        ir.save(graph, model)
        assert entries(model.parent) == ["m.onnx", expected] and value_of(model) == 1


def test_a_graph_can_be_saved_again_after_its_file_was_replaced(model: Path) -> None:
    graph = ir.load(model)
    ir.save(graph_of(2), model, external=True)
    ir.save(graph, model)
    assert value_of(model) == 1 and len(entries(model.parent)) == 2


def test_data_that_a_copy_of_the_old_model_uses_stay(model: Path) -> None:
    for name in ("before.onnx", "m.onnx.bak"):
        shutil.copy(model, model.with_name(name))
    ir.save(graph_of(2), model, external=True)
    assert entries(model.parent) == ["before.onnx", "m.onnx", "m.onnx.1.data", "m.onnx.bak", "m.onnx.data"]
    assert (value_of(model), value_of(model.with_name("before.onnx"))) == (2, 1)


def test_data_of_another_model_are_neither_overwritten_nor_removed(model: Path) -> None:
    model.rename(model.with_name("other.onnx"))
    ir.save(graph_of(2), model, external=True)
    ir.save(graph_of(3), model)
    assert entries(model.parent) == ["m.onnx", "m.onnx.data", "other.onnx"]
    assert (value_of(model), value_of(model.with_name("other.onnx"))) == (3, 1)


def test_a_model_that_only_mentions_a_longer_name_does_not_own_the_data(tmp_path: Path) -> None:
    """`xm.onnx.data` ends like the data of `m.onnx`."""
    ir.save(graph_of(1), tmp_path / "xm.onnx", external=True)
    (tmp_path / "xm.onnx").rename(tmp_path / "m.onnx")
    (tmp_path / "m.onnx.data").write_bytes(b"somebody's")
    ir.save(graph_of(2), tmp_path / "m.onnx", external=False)
    assert entries(tmp_path) == ["m.onnx", "m.onnx.data", "xm.onnx.data"]


def test_data_under_a_name_that_is_not_ours_are_not_removed(model: Path) -> None:
    proto = ModelProto.FromString(model.read_bytes())
    proto.graph.initializer[0].external_data[0].CopyFrom(StringStringEntryProto(key="location", value="weights.bin"))
    model.write_bytes(proto.SerializeToString())
    (model.parent / "m.onnx.data").rename(model.parent / "weights.bin")
    ir.save(ir.load(model), model)
    assert entries(model.parent) == ["m.onnx", "m.onnx.data", "weights.bin"] and value_of(model) == 1


def test_data_that_no_model_mentions_any_more_are_replaced(model: Path) -> None:
    """A killed process leaves such, between the last two steps."""
    model.unlink()
    ir.save(graph_of(2), model, external=True)
    assert entries(model.parent) == ["m.onnx", "m.onnx.data"] and value_of(model) == 2


def test_a_file_that_only_looks_like_data_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out.data").write_bytes(b"measurements")
    ir.save(graph_of(1), tmp_path / "out", external=True)
    assert (tmp_path / "out.data").read_bytes() == b"measurements" and value_of(tmp_path / "out") == 1


def test_neighbours_that_cannot_be_read_may_need_all_data(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model.parent / "private.onnx").write_bytes(b"?")
    opened = Path.open

    def refuse(path: Path, *args: str) -> object:
        if path.name == "private.onnx":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args)

    monkeypatch.setattr(Path, "open", refuse)
    ir.save(graph_of(2), model, external=True)
    monkeypatch.undo()
    assert entries(model.parent) == ["m.onnx", "m.onnx.1.data", "m.onnx.data", "private.onnx"]


def test_a_mention_across_two_chunks_is_found(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(model, model.with_name("copy.onnx"))
    for chunk in (1, 7, 64):
        monkeypatch.setattr("onnxopt.ir.data_name._CHUNK", chunk)
        ir.save(graph_of(2), model, external=True)
        assert value_of(model.with_name("copy.onnx")) == 1 and len(entries(model.parent)) == 4


def test_through_a_link_the_data_go_beside_the_file(model: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link.onnx"
    link.symlink_to("../m.onnx")
    ir.save(graph_of(2), link, external=True)
    assert entries(tmp_path / "links") == ["link.onnx"] and link.is_symlink()
    assert entries(tmp_path) == ["links", "m.onnx", "m.onnx.1.data"] and value_of(model) == 2


@pytest.mark.parametrize(
    ("external", "step", "at"),
    [
        (True, "fsync", 1),
        (True, "fsync", 3),
        (True, "link", 1),
        (True, "link", 2),
        (False, "fsync", 1),
        (False, "link", 1),
    ],
)
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "interrupt"]
)
def test_a_save_that_fails_leaves_the_old_model_and_nothing_else(
    error: BaseException, external: bool, step: str, at: int, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data, their folder, the model, its folder: the second and fourth fsync are worth a try, no more."""
    before = {path.name: path.read_bytes() for path in model.parent.iterdir()}
    _fail_at(monkeypatch, step, at, error)
    with pytest.raises(OnnxoptError if isinstance(error, OSError) else KeyboardInterrupt):
        ir.save(graph_of(2), model, external=external, sync=True)
    assert {path.name: path.read_bytes() for path in model.parent.iterdir()} == before


@pytest.mark.parametrize(("at", "expected"), [(2, 1), (4, 2)])
def test_an_interrupt_between_the_steps_leaves_the_old_model_or_the_new(
    at: int, expected: float, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_at(monkeypatch, "fsync", at, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        ir.save(graph_of(2), model, external=True, sync=True)
    assert value_of(model) == expected


def _fail_at(monkeypatch: pytest.MonkeyPatch, step: str, at: int, error: BaseException) -> None:
    """Let a call into the system fail at one time, and only then."""
    calls = 0
    real = getattr(os, step)

    def fail(*args: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == at:
            raise error
        return real(*args, **options)

    monkeypatch.setattr(os, step, fail)


def test_a_graph_that_cannot_be_written_leaves_the_old_model(model: Path) -> None:
    graph = graph_of(2)
    graph.nodes[0].attrs["impossible"] = object()
    before = entries(model.parent)
    with pytest.raises(BadModel, match=r"attribute 'impossible' of node \(Add\) of 'y': ONNX has no type for"):
        ir.save(graph, model, external=True)
    assert entries(model.parent) == before and value_of(model) == 1


def test_over_two_gigabytes_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Huge:
        def SerializeToString(self) -> bytes:  # noqa: N802
            raise EncodeError("Failed to serialize proto")

    monkeypatch.setattr(SAVE, "to_proto", lambda *args, **options: Huge())
    with pytest.raises(BadModel, match="over 2 GB; save it with external data"):
        ir.save(graph_of(1), tmp_path / "m.onnx", external=False)
    assert entries(tmp_path) == []


def test_weights_over_the_limit_go_into_a_file_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SAVE, "_INLINE_LIMIT", 2047)
    ir.save(graph_of(1), tmp_path / "m.onnx")
    assert entries(tmp_path) == ["m.onnx", "m.onnx.data"]
    attribute = graph_of(1, 1)
    attribute.nodes[0].attrs["table"] = ir.Constant("", np.ones(600, np.float32))
    ir.save(attribute, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx.data").exists()


_SAVE_FOREVER = """
import sys
import numpy as np
from onnxopt import ir
graph = ir.load(sys.argv[1])
print("ready", flush=True)
while True:
    graph.constants[0].values = graph.constants[0].values + 1
    ir.save(graph, sys.argv[1], external=True, sync=False)
"""


def test_a_process_killed_while_it_saves_leaves_a_whole_model(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    ir.save(graph_of(0, 50_000), path, external=True)
    last = 0.0
    for round_ in range(6):
        process = subprocess.Popen([sys.executable, "-c", _SAVE_FOREVER, path], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(0.01 + 0.007 * round_)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert value_of(path) >= last
        last = value_of(path)
    assert last > 0
    ir.save(graph_of(1), path, external=True)
    assert [name for name in entries(tmp_path) if name.startswith(".")] == []
    assert len(entries(tmp_path)) <= 3  # a kill between the last steps leaves data, which the save after next replaces
