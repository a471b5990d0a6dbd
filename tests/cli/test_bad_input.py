"""The rows of the design's table of bad input that a user meets on the command line."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.cli.conftest import Command, Ended
from tests.pipeline import planted


def refused(ended: Ended, *said: str, code: int = 2, lines: int = 1) -> None:
    """Nothing on stdout, one line on stderr that says this, and the exit code."""
    assert (ended.code, ended.out) == (code, ""), ended
    assert len(ended.err.splitlines()) == lines, ended.err
    assert ended.err.startswith("onnxopt: ")
    assert "Traceback" not in ended.err
    for text in said:
        assert text in ended.err


USAGE = [
    (["run", "model.onnx"], "give the passes with either --passes or -O"),
    (["run", "model.onnx", "-O", "1", "--passes", "O1"], "either --passes or -O, not both"),
    (["run", "model.onnx", "-O", "7"], "there is no -O 7; there are -O 1, -O 2"),
    (["run", "model.onnx", "-O", "x"], "there is no -O x; there are -O 1, -O 2"),
    (["run", "model.onnx", "-O", "1", "--verfy-each"], "No such option: --verfy-each"),
    (["run", "model.onnx", "-O", "1", "--limit", "-3"], "Invalid value for .?--limit"),
    (["run", "model.onnx", "-O", "1", "-o"], "Option '-o' requires an argument"),
    (["run", "model.onnx", "other.onnx", "-O", "1"], "other.onnx"),
    (["rnu", "model.onnx"], "No such command 'rnu'"),
    (["run", "model.onnx", "-O", "1", "--emit", "onxn=a"], "there is no backend 'onxn'; did you mean onnx"),
    (["run", "model.onnx", "-O", "1", "--emit", "onnx"], "--emit onnx: give it as BACKEND=PATH"),
    (["run", "model.onnx", "-O", "1", "--emit", "onnx{extrnal-data=true}=a"], "did you mean external-data"),
    (
        ["run", "model.onnx", "-O", "1", "--emit", "tensorrt=a"],
        "tensorrt writes an engine .* and a is none",
    ),
    (["run", "model.onnx", "-O", "1", "--target", "onxn"], "there is no target 'onxn'; did you mean onnx"),
    (["run", "model.onnx", "-O", "1", "--dim", "N"], "--dim N: give it as NAME=SIZE"),
    (["run", "model.onnx", "-O", "1", "--dim", "N=0"], "with a size of at least 1"),
    (["run", "model.onnx", "-O", "1", "--dim", "N=1", "--dim", "N=2"], "N is given twice"),
    (["run", "model.onnx", "-O", "1", "--dim", "M=3"], "no input has a dimension 'M'; there are: N"),
    (["run", "model.onnx", "-p", "fold-constants", "--print-after", "fold-constnts"], "did you mean fold-constants"),
    (["run", "model.onnx", "-p", "fold-constants", "--explain", "infer-shapes"], "the pipeline has no such pass"),
    (["run", "model.onnx", "-O", "1", "--verify-each", "--no-verify"], "exclude each other"),
    (["run", "model.onnx", "-O", "1", "-o", "a.onnx", "--emit", "onnx=./a.onnx"], "two outputs have one path"),
    (["run", "model.onnx", "-O", "1", "--plugin", "none.py"], "none.py: the plug-in cannot be read: No such file"),
    (["run", "model.onnx", "-p", "none.toml"], "none.toml: the pipeline file cannot be read: No such file"),
    (["passes", "fold-constnats"], "there is no pass 'fold-constnats'; did you mean fold-constants"),
    (["backends", "tensort"], "there is no target 'tensort'"),
    (["inspect", "model.onnx", "--node", "secnd"], "no node has the name 'secnd', .* did you mean second"),
    (["inspect", "model.onnx", "--text", "--json"], "--text and --json exclude each other"),
    (["diff", "model.onnx", "model.onnx", "--text", "--json"], "--text and --json exclude each other"),
    (["verify", "model.onnx", "model.onnx", "--promise", "vaules"], "did you mean values"),
    (["verify", "model.onnx", "model.onnx", "--samples", "0"], "Invalid value for .?--samples"),
    (["verify", "model.onnx", "model.onnx", "--dim", "N=2", "--data", "x.npz"], "--data and --dim exclude each other"),
    (["bisect", "model.onnx"], "give the passes with either --passes or -O"),
    (["bisect", "model.onnx", "-O", "1", "--dim", "N=2", "--data", "x.npz"], "--data and --dim exclude each other"),
]


@pytest.mark.parametrize(("words", "said"), USAGE, ids=[" ".join(words) for words, _ in USAGE])
def test_wrong_use_is_one_line_and_exit_2(onnxopt: Command, model: Path, words: list[str], said: str) -> None:
    ended = onnxopt(*words)
    refused(ended)
    assert re.search(said, ended.err), ended.err


@pytest.mark.parametrize(
    ("pipeline", "message", "under"),
    [
        ("fold-constnats,O1", "there is no pass 'fold-constnats'; did you mean fold-constants", "fold-constnats"),
        ("O1,fold-constants{max-byte=1}", "no option 'max-byte'; did you mean max-bytes", "max-byte"),
        ("O1,fold-constants{max-bytes=many}", "max-bytes takes an integer", "many"),
        ("O1,,O2", "the name of a pass is missing here", ","),
        ("repeat(O1", "this ( is never closed", "(O1"),
    ],
)
def test_a_pipeline_that_cannot_be_read_gets_carets(
    onnxopt: Command, model: Path, pipeline: str, message: str, under: str
) -> None:
    ended = onnxopt("run", model, "--passes", pipeline)
    refused(ended, message, lines=3)
    _, text, carets = ended.err.splitlines()
    assert text.strip() == pipeline
    assert text[carets.index("^") :].startswith(under)


def test_all_is_no_typing_error(onnxopt: Command, model: Path) -> None:
    ended = onnxopt("run", model, "-p", "O1", "--print-after", "al")
    refused(ended, "did you mean all")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"not a model at all", "not an ONNX file"),
        (planted.model().SerializeToString()[:-40], "truncated, or not an ONNX file"),
    ],
)
@pytest.mark.parametrize("command", [["inspect"], ["run", "-O", "1"], ["bisect", "-O", "1"]])
def test_a_file_that_is_no_model(onnxopt: Command, content: bytes, said: str, command: list[str]) -> None:
    Path("bad.onnx").write_bytes(content)
    refused(onnxopt(*command, "bad.onnx"), "bad.onnx", said)


def test_a_missing_file_is_named(onnxopt: Command, model: Path) -> None:
    for words in (
        ["run", "no.onnx", "-O1"],
        ["inspect", "no.onnx"],
        ["diff", model, "no.onnx"],
        ["verify", model, "no.onnx"],
    ):
        refused(onnxopt(*words), "no.onnx: no such file")
    refused(onnxopt("inspect", "."), ".: not a file")


def test_external_data_outside_the_folder_are_refused(onnxopt: Command, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    proto = planted.model()
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones(4, np.float32), "w"))
    onnx.save(proto, "sub/model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    loaded = onnx.load("sub/model.onnx", load_external_data=False)
    loaded.graph.initializer[0].external_data[0].value = "../w.bin"
    Path("sub/model.onnx").write_bytes(loaded.SerializeToString())
    Path("w.bin").write_bytes(bytes(16))
    for words in (["run", "sub/model.onnx", "-O1"], ["verify", "sub/model.onnx", "sub/model.onnx"]):
        refused(onnxopt(*words), "sub/model.onnx", "w.bin")


DATA = [
    ({"y": np.zeros((3, 4), np.float32)}, "has no input 'x'; it has: y"),
    ({"x": np.zeros((3, 5), np.float32)}, "input 'x' takes float32[N, 4], a sample is float32[5]"),
    ({"x": np.zeros((3, 4), np.float64)}, "input 'x' takes float32[N, 4], a sample is float64[4]"),
    ({"x": np.zeros((0, 4), np.float32)}, "holds no samples"),
    ({"x": np.full((3, 4), np.nan, np.float32)}, "input 'x' holds NaN or infinity in sample 0"),
]


@pytest.mark.parametrize(("arrays", "said"), DATA, ids=[said for _, said in DATA])
@pytest.mark.parametrize("command", ["run", "bisect"])
def test_data_that_do_not_fit(
    onnxopt: Command, model: Path, arrays: dict[str, np.ndarray], said: str, command: str
) -> None:
    np.savez("bad.npz", **arrays)
    refused(onnxopt(command, model, "-O", "1", "--data", "bad.npz"), "bad.npz", said)


def test_data_that_are_not_there(onnxopt: Command, model: Path) -> None:
    refused(onnxopt("run", model, "-O1", "--data", "none.npz"), "there is no data at none.npz")
    refused(onnxopt("verify", model, model, "--data", "none:such"), "--data none:such cannot be imported")


def test_an_output_without_a_folder_is_refused_before_the_work(onnxopt: Command, model: Path) -> None:
    refused(onnxopt("run", "none.onnx", "-O1", "-o", "no/out.onnx"), "cannot write no/out.onnx: there is no folder no")
    refused(onnxopt("run", model, "-O1", "-o", model.parent), "it is a folder")


def test_a_read_only_folder_leaves_the_previous_output_whole(
    onnxopt: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out.onnx").write_bytes(b"previous")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    refused(onnxopt("run", model, "-O1", "-o", "out.onnx"), "cannot write out.onnx", "read-only")
    assert Path("out.onnx").read_bytes() == b"previous"


@pytest.mark.parametrize(("kind", "code", "said"), [("raises", 3, "KeyError"), ("denies", 1, "changed the graph")])
def test_a_failing_pass_leaves_the_previous_output_whole(
    onnxopt: Command, model: Path, plugin: Path, kind: str, code: int, said: str
) -> None:
    Path("out.onnx").write_bytes(b"previous")
    ended = onnxopt("run", model, "-p", kind, "--plugin", plugin, "--verify-each", "-o", "out.onnx")
    refused(ended, said, "reproduce it with: onnxopt run", code=code, lines=2)
    assert Path("out.onnx").read_bytes() == b"previous"
    assert not list(Path().glob(".*"))


def test_unknown_operators_are_carried_through(onnxopt: Command) -> None:
    proto = planted.model()
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Rleu", "example"
    proto.opset_import.append(onnx.helper.make_opsetid("example", 1))
    onnx.save(proto, "custom.onnx")
    assert onnxopt("run", "custom.onnx", "-O", "2", "-o", "out.onnx").code == 0
    assert "Rleu" in [node.op_type for node in onnx.load("out.onnx").graph.node]
    ended = onnxopt("run", "custom.onnx", "-O", "2", "--verify")
    refused(ended, "cannot verify: onnxruntime cannot load the model", code=1)


def test_an_internal_error_is_one_line_and_debug_shows_where(
    onnxopt: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr("onnxopt.ir.load", fail)
    refused(onnxopt("inspect", model), "internal error, please report it (RuntimeError: first); --debug", code=3)
    assert "Traceback" in onnxopt("inspect", model, "--debug").err


def test_debug_shows_the_traceback_of_a_failing_pass(onnxopt: Command, model: Path, plugin: Path) -> None:
    ended = onnxopt("run", model, "-p", "raises", "--plugin", plugin, "--debug")
    assert ended.code == 3 and "KeyError" in ended.err and "planted.py" in ended.err
