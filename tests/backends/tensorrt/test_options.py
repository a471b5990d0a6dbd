"""The options of the target, and the commands that write an engine and look at it."""

import json

import pytest

from onnxopt.backends.tensorrt import Tensorrt, flavor
from onnxopt.cli.app import main
from onnxopt.errors import BadOption
from onnxopt.pipeline.backend import Emission
from onnxopt.runtime.child import run_in_child
from tests.backends.tensorrt.engines import DIGITS, RELU, emit, graph, needs_builder


@pytest.fixture
def run(monkeypatch, capsys):
    """The command line, in this process: exit code, stdout, stderr."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["onnxopt", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


@needs_builder
def test_from_the_command_line_to_an_engine_and_back(run, tmp_path):
    path = tmp_path / "m.engine"
    emit = f"tensorrt{{precision=int8 shapes=input:1x1x28x28..8x1x28x28}}={path}"
    source = ["run", DIGITS / "digits_mobilenet.onnx", "--passes", "O2", "--data", DIGITS / "calibration.npz"]
    code, _, told = run(*source, "--emit", emit)
    told = " ".join(told.split())
    assert code == 0 and f"wrote {path}" in told
    assert "m.engine: quantize ran for it, SNR of logits" in told
    assert "m.engine was built, and never run; latency: not measured: no GPU" in told
    code, out, _ = run("inspect", path, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["sidecar"]["precision"] == "int8" and facts["file"]["bytes"] == path.stat().st_size
    assert "input  float32[-1, 1, 28, 28]" in run("inspect", path)[1]


@needs_builder
def test_inspect_refuses_an_engine_that_is_not_the_one_of_its_sidecar(run, tmp_path):
    path = tmp_path / "m.engine"
    emit(RELU, path)
    path.write_bytes(path.read_bytes()[:-1])
    code, _, told = run("inspect", path)
    assert code == 2 and "is not what its sidecar was written of: emit it again" in told
    (tmp_path / "m.engine.json").unlink()
    code, _, told = run("inspect", path)
    assert code == 2 and "an engine cannot be opened without a GPU" in told


@needs_builder
def test_a_refusal_is_exit_code_2_and_names_the_nodes(run, tmp_path):
    code, _, told = run(
        "run", DIGITS / "digits_mobilenet.onnx", "--passes", "O1", "--emit", f"tensorrt={tmp_path / 'm.engine'}"
    )
    assert code == 2 and "input 'input': dimension 0 (batch) is dynamic" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("precision=fp64", "precision takes one of fp32|fp16|bf16|int8|fp8|int4"),
        ("timeout=0", "timeout is more than 0 seconds"),
        ("workspace=0", "workspace is more than 0 bytes"),
        ("compute-capabilities=8.6,8.6", "one is given twice"),
        ("dla=true", "has no option 'dla'"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(options, reason):
    with pytest.raises(BadOption) as caught:
        Emission.parse(f"tensorrt{{{options}}}=m.engine")
    assert reason in str(caught.value)


@needs_builder
def test_the_name_has_to_be_that_of_an_engine():
    with pytest.raises(BadOption, match=r"tensorrt writes an engine \(.engine or .plan\), and m.trt is none"):
        Emission.parse("tensorrt=m.trt")


@needs_builder
def test_rtx_has_no_use_for_a_timing_cache():
    with pytest.raises(BadOption, match="TensorRT-RTX measures no kernels as it builds"):
        Emission.parse("tensorrt{flavor=rtx timing-cache=t.bin}=m.engine")


@needs_builder
def test_an_engine_for_some_cards_only(tmp_path):
    facts = emit(RELU, tmp_path / "m.engine", "compute-capabilities=8.6,12.0")
    assert facts["compute_capabilities"] == ["8.6", "12.0"]
    with pytest.raises(BadOption, match=r"there is no 9\.0; there are: 7\.5, 8\.0, 8\.6, 8\.9, 12\.0"):
        Tensorrt(compute_capabilities=("9.0",)).check(graph(RELU))


@pytest.fixture
def found(monkeypatch):
    """Pretend that packages are here, and what importing the full TensorRT tells."""

    def pretend(*packages, version="11.4.0", gpus=1):
        flavor._no_enterprise.cache_clear()
        monkeypatch.setattr(flavor.importlib.util, "find_spec", lambda name: name if name in packages else None)
        monkeypatch.setattr(flavor, "run_in_child", lambda *args, **kwargs: (version, gpus))

    yield pretend
    flavor._no_enterprise.cache_clear()


def test_the_full_tensorrt_is_taken_where_it_can_build(found):
    found("tensorrt", "tensorrt_rtx")
    assert flavor.find() == flavor.ENTERPRISE and flavor.find("rtx") == flavor.RTX


@pytest.mark.parametrize(
    ("packages", "told", "reason"),
    [
        (("tensorrt_rtx",), {}, "the full TensorRT is not installed"),
        (("tensorrt", "tensorrt_rtx"), {"version": ""}, "is there without its libraries"),
        (("tensorrt", "tensorrt_rtx"), {"version": "8.6.1"}, "is 8.6.1, and 10 or newer is needed"),
        (("tensorrt", "tensorrt_rtx"), {"gpus": 0}, "there is none: use flavor=rtx"),
    ],
)
def test_where_it_cannot_rtx_is(found, packages, told, reason):
    found(*packages, **told)
    assert flavor.find() == flavor.RTX
    with pytest.raises(BadOption) as caught:
        flavor.find("enterprise")
    assert reason in str(caught.value)


def test_with_neither_the_remedy_is_told(found):
    found()
    with pytest.raises(BadOption, match=r"is not installed: pip install 'onnxopt\[tensorrt\]'"):
        flavor.find()


def test_a_package_that_cannot_be_imported_is_none():
    assert run_in_child("onnxopt.backends.tensorrt.vendor:probe", "no_such_tensorrt", timeout=60) == ("", 0)


def test_our_own_modules_do_not_import_it():
    assert not run_in_child("tests.backends.tensorrt.building_work:imported_with_us", timeout=60)
