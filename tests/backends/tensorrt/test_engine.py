"""Engines: built of the fixtures in every precision, the same each time, or refused and not there."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest

import onnxopt
from onnxopt import ir
from onnxopt.backends.tensorrt import Tensorrt, building
from onnxopt.backends.tensorrt.building import attempt
from onnxopt.errors import BadModel, BadOption, OnnxoptError
from onnxopt.pipeline.backend import Emission, Refused
from tests.backends.tensorrt.engines import BEAUTY, DIGITS, OPEN, RELU, emit, graph, model, needs_builder, sidecar

pytestmark = needs_builder
DIGITS_SHAPES = {"input": "1x1x28x28..8x1x28x28"}


@pytest.fixture
def old(tmp_path):
    """What was there before, and is still after."""
    (tmp_path / "m.engine").write_bytes(b"old")
    yield tmp_path / "m.engine"
    assert (tmp_path / "m.engine").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["m.engine"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Engines of digits_mobilenet by precision, and their sidecars."""
    folder = tmp_path_factory.mktemp("digits")
    found = {}
    for precision in ("fp32", "fp16", "int8"):
        path = folder / f"{precision}.engine"
        data = DIGITS / "calibration.npz" if precision == "int8" else None
        onnxopt.build_engine(
            DIGITS / "digits_mobilenet.onnx", path, 1 << 28, precision, shapes=DIGITS_SHAPES, data=data, passes="O2"
        )
        found[precision] = (path, sidecar(path))
    return found


def test_weights_are_half_in_fp16_and_about_a_quarter_in_int8(digits):
    memory = {precision: facts["weight_memory"] for precision, (_, facts) in digits.items()}
    assert 0.45 < memory["fp16"] / memory["fp32"] < 0.55
    assert (
        memory["int8"] / memory["fp32"] < 0.45
    )  # the kernels want channels in fours and more: small layers are padded


def test_each_layer_runs_in_what_was_asked_for(digits):
    shares = {name: facts["precisions"]["by_precision"] for name, (_, facts) in digits.items()}
    assert set(shares["fp32"]) == {"fp32"} and set(shares["fp16"]) == {"fp16"}
    assert shares["int8"]["int8"]["share"] > 0.95


def test_the_pipeline_of_the_sidecar_has_the_passes_that_made_the_precision(digits):
    _, fp16 = digits["fp16"]
    assert fp16["pipeline"].endswith(",infer-shapes,convert-float16")
    _, int8 = digits["int8"]
    assert int8["pipeline"].endswith(",infer-shapes,quantize")
    assert int8["prepared"]["pipeline"] == "quantize" and int8["prepared"]["verified"]["worst"]["snr"] > 25
    assert "prepared" not in digits["fp32"][1]


def test_the_sidecar_says_what_the_engine_is_and_that_nothing_was_measured(digits):
    path, facts = digits["int8"]
    assert facts["bytes"] == path.stat().st_size and facts["backend"].startswith("tensorrt{precision=int8 ")
    assert facts["flavor"] == "rtx" and facts["versions"]["TensorRT-RTX"].startswith("1.")
    assert facts["graph_inputs"] == [{"name": "input", "dtype": "float32", "shape": [-1, 1, 28, 28]}]
    assert facts["graph_outputs"] == [{"name": "logits", "dtype": "float32", "shape": [-1, 10]}]
    assert facts["profiles"]["input"]["max"] == [8, 1, 28, 28] and facts["workspace"] == 1 << 28
    assert facts["latency"] == "not measured: no GPU" and facts["not_verified_on_target"]
    assert {name for layer in facts["layers"] for name in layer["onnx_nodes"]}


def test_two_builds_are_the_same_to_the_bit(digits, tmp_path):
    first, facts = digits["fp16"]
    again = tmp_path / "again.engine"
    onnxopt.build_engine(DIGITS / "digits_mobilenet.onnx", again, 1 << 28, shapes=DIGITS_SHAPES, passes="O2")
    assert again.read_bytes() == first.read_bytes() and sidecar(again)["sha256"] == facts["sha256"]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_net_for_images(precision, tmp_path):
    samples = BEAUTY / "calibration.npz" if precision == "int8" else None
    found = onnxopt.run(BEAUTY / "tinybeauty.onnx", "O2", data=samples, target="tensorrt", verify=False)
    options = f"{{precision={precision} shapes=image:1x3x256x256..2x3x256x256}}"
    found.write(None, [Emission.parse(f"tensorrt{options}={tmp_path / 'm.plan'}")], {})
    assert sidecar(tmp_path / "m.plan")["precisions"]["by_precision"][precision]["share"] > 0.9


def test_int8_without_data_says_what_helps(old):
    with pytest.raises(BadOption, match="quantize needs calibration data: give --data"):
        onnxopt.build_engine(DIGITS / "digits_mobilenet.onnx", old, precision="int8", shapes=DIGITS_SHAPES)


@pytest.mark.parametrize(
    ("precision", "passes", "stored"),
    [
        ("bf16", "convert-float16{type=bfloat16}", "bfloat16"),
        ("fp8", "convert-opset{opset=19},quantize-weights{type=fp8}", "float8"),
        ("int4", "convert-opset{opset=21},quantize-weights{type=int4 include=MatMul}", "int4"),
    ],
)
def test_other_precisions_are_made_by_passes_too(precision, passes, stored, tmp_path):
    found = model("g (float[8, 64] x) => (float[8, 32] y) { y = MatMul(x, w) }")
    weight = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    found.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    (artifact,) = onnxopt.run(ir.from_proto(found), "O1").write(
        None, [Emission.parse(f"tensorrt{{precision={precision}}}={tmp_path / 'm.engine'}")], {}
    )
    facts = sidecar(tmp_path / "m.engine")
    assert facts["prepared"]["pipeline"] == passes and f"{passes} ran for it" in artifact.notes[0]
    constants = {each["dtype"] for layer in facts["layers"] for each in layer["constants"]}
    assert stored in constants


@pytest.mark.parametrize(
    ("text", "precision", "reason"),
    [
        (RELU, "int8", "nothing in it is int8: run quantize with --target tensorrt"),
        (RELU, "fp16", "nothing in it is float16: run convert-float16 with --target tensorrt"),
        (RELU, "int4", "nothing in it is int4: it has no Gemm or MatMul, the layers for it"),
        (RELU.replace("float[", "float16["), "fp32", "it has float16: leave precision away, or begin with the float"),
    ],
)
def test_a_graph_in_another_precision_is_refused_where_no_pass_may_run(text, precision, reason):
    (problem,) = Tensorrt(precision=precision).check(graph(text))
    assert problem.node == "the graph" and reason in problem.reason


def test_a_cast_alone_does_not_make_a_graph_fp16():
    text = """g (float[8, 4] x) => (float[8, 2] y) <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}> {
        h = Cast<to = 10>(x)
        f = Cast<to = 1>(h)
        y = MatMul(f, w)
    }"""
    assert Tensorrt(precision="fp16").preparation(graph(text)).pipeline == "convert-float16"
    done = onnxopt.run(graph(text), "convert-float16", target="tensorrt", verify=False)
    assert Tensorrt(precision="fp16").preparation(done.graph).pipeline == ""


def test_all_that_the_parser_refuses_is_told_at_once(old):
    """NonZero is one that it stops at: Det behind it would be found a run later."""
    text = """g (float[1, 4] x) => (float[1, 4] y, float[1, 4] z) {
        a = Relu(x)
        [first] b = NonZero(a)
        c = Cast<to = 1>(b)
        y = Add(a, a)
        [second] q = Det(c)
        z = Add(q, a)
    }"""
    with pytest.raises(Refused) as caught:
        emit(text, old)
    assert str(caught.value).split("\n") == [
        "tensorrt{} refuses 2 nodes:",
        "  NonZero 'first': does not parse: creator && getPluginCreatorVersion(creator) == CreatorVersion::kV3ONE: "
        "NonZero plugin creator version 1 was not found in plugin registry.",
        "  Det 'second': does not parse: the parser has no such operator (legalize-tensorrt says some of its forms "
        "otherwise)",
    ]


def test_what_parses_and_does_not_build_is_told_apart(old):
    text = """g (float[1, 4, 4] boxes, float[1, 1, 4] scores) => (int64[N, 3] y) {
        most = Constant<value = int64 {3}>()
        [suppress] y = NonMaxSuppression(boxes, scores, most)
    }"""
    with pytest.raises(Refused) as caught:
        emit(text, old)
    assert "\n  NonMaxSuppression suppress: parses, and does not build: Error Code 2:" in str(caught.value)
    assert "has no runners that implement it" in str(caught.value)


def test_a_type_that_it_has_not_is_told_with_the_tensors():
    problems = Tensorrt().check(graph("g (uint16[1, 4] x) => (uint16[1, 4] y) { y = Add(x, x) }"))
    assert {(each.node, each.reason) for each in problems} == {
        ("input 'x'", "does not parse: TensorRT has no uint16"),
        ("output 'y'", "does not parse: TensorRT has no uint16"),
    }


def test_garbage_is_refused_though_the_parser_takes_it(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"garbage" * 100)
    with pytest.raises(BadModel):
        attempt(tmp_path / "m.onnx")
    (problem,) = Tensorrt().check(graph("g (float[1, 4] x) => (float[1, 4] y) { y = Frobnicate(x) }"))
    assert (
        problem.node == "the graph" and "onnx's checker refuses it: No Op registered for Frobnicate" in problem.reason
    )


def test_the_parser_alone_takes_garbage(tmp_path):
    """The hazard: a file that is no model parses without an error."""
    from onnxopt.runtime.child import run_in_child

    (tmp_path / "m.onnx").write_bytes(b"")
    assert run_in_child("onnxopt.backends.tensorrt.vendor:parse", tmp_path / "m.onnx", timeout=60) == ()


def test_the_builders_progress_is_told(old, monkeypatch):
    monkeypatch.setattr(building, "_CHILD", "tests.backends.tensorrt.building_work:tell_and_end")
    told = []
    with pytest.raises(Refused, match="parses, and does not build: the builder does not say why"):
        Tensorrt().write_reporting(graph(RELU), old, None, lambda *args: told.append(args))
    assert told == [("TensorRT: Timing tactics", 3, 7)]


def test_the_time_limit_leaves_the_old_file(old, monkeypatch):
    monkeypatch.setattr(building, "_CHILD", "tests.backends.tensorrt.building_work:hang")
    told = r"took more than 1\.5 s and was stopped while \w+; nothing was written; give it more with timeout=3$"
    with pytest.raises(OnnxoptError, match=told):
        emit(RELU, old, "timeout=1.5")


def test_a_crash_is_an_error_and_leaves_the_old_file(old, monkeypatch):
    monkeypatch.setattr(building, "_CHILD", "tests.backends.tensorrt.building_work:crash")
    with pytest.raises(OnnxoptError, match=r"TensorRT ended with SIGSEGV while building; nothing was written$"):
        emit(RELU, old)


def test_a_kill_leaves_the_old_file_and_no_child(old):
    script = f"""
from onnxopt.backends.tensorrt import building
from tests.backends.tensorrt.engines import RELU, emit
building._CHILD = "tests.backends.tensorrt.building_work:hang"
print("go", flush=True)
emit(RELU, __import__("pathlib").Path({str(old)!r}))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
    )
    assert process.stdout is not None and process.stdout.readline() == b"go\n"
    time.sleep(0.7)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_an_attempt_after_one_that_failed_is_in_a_process_of_its_own(tmp_path):
    """After a build that failed, the next one in the same process gives another engine."""
    fresh = emit(RELU, tmp_path / "a.engine")
    assert "no optimization profile has been defined" in attempt(model(OPEN)).why
    assert emit(RELU, tmp_path / "b.engine")["sha256"] == fresh["sha256"]


def test_nodes_without_names_get_some_and_the_graph_stays_as_it_is():
    found = graph("g (float[1, 4] x) => (float[1, 4] y) { a = Relu(x) y = Neg(a) }")
    done = attempt(found)
    assert done.ok and done.engine is None and done.size > 0
    assert "Relu_0" in done.log and [node.name for node in found.nodes] == ["", ""]
