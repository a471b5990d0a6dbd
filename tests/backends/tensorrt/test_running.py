"""Running an engine and measuring it: what is called, in which order, on which memory; and what is said without a GPU.

There, an object with the calls of TensorRT that runs onnxruntime on the addresses it is given stands for the engine,
and one with the calls of CUDA upon the memory of this process for the device. The test that asks for `a_gpu` runs only
where there is an NVIDIA GPU that TensorRT builds for, with cuda-python; what it says is shown nowhere else.
"""

import ctypes
import importlib.util
import json
from enum import Enum
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import parser

import onnxopt
from onnxopt.backends.tensorrt import Tensorrt, evaluating, vendor
from onnxopt.backends.tensorrt.cuda import Cuda, CudaFailed
from onnxopt.backends.tensorrt.measuring import Settings, measure
from onnxopt.backends.tensorrt.running import ONNX_TYPES, EnginePort, Running, load
from onnxopt.cli.app import main
from onnxopt.data.opening import open_data
from onnxopt.data.scoring import Metric
from onnxopt.data.spec import inputs_of
from onnxopt.errors import BadData, BadModel, BadOption
from onnxopt.pipeline.backend import Emission

HAS_BUILDER = importlib.util.find_spec("tensorrt_rtx") is not None
needs_builder = pytest.mark.skipif(not HAS_BUILDER, reason="TensorRT-RTX is not installed: pip install onnxopt[test]")


def model():
    """Two samples of any number; `size` is a shape, which an engine takes in the memory of the host."""
    text = """<ir_version: 9, opset_import: ["": 17]>
    g (float16[N, 4] x, int64[2] size) => (float16[N, 3] y, float16[A, B] z) {
        y = MatMul(x, w)
        z = Reshape(x, size)
    }"""
    found = parser.parse_model(text)
    weights = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float16)
    found.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    return found


class Memory:
    """A device whose memory is this process's: pointers are real, and no two are alive at once in one place."""

    def __init__(self):
        self.alive, self.calls, self.events = {}, [], 0

    def allocate(self, size):
        buffer = ctypes.create_string_buffer(max(1, size))
        self.alive[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    def free(self, pointer):
        del self.alive[pointer]

    def to_device(self, pointer, array, stream):
        self.calls.append("to device")
        ctypes.memmove(pointer, array.ctypes.data, array.nbytes)

    def to_host(self, array, pointer, stream):
        self.calls.append("to host")
        ctypes.memmove(array.ctypes.data, pointer, array.nbytes)

    def stream(self):
        self.calls.append("stream")
        return "the stream"

    def handle(self, stream):
        return {"the stream": 77}[stream]

    def wait(self, stream):
        self.calls.append("wait")

    def close(self, stream):
        self.calls.append("close")

    def event(self):
        self.events += 1
        return self.events

    def record(self, event, stream):
        self.calls.append(f"record {'start' if event % 2 else 'end'}")

    def milliseconds(self, start, end):
        assert end == start + 1
        return float(start)


class Enums:
    """Of the bindings, what running takes."""

    TensorIOMode = Enum("TensorIOMode", "INPUT OUTPUT")
    TensorLocation = Enum("TensorLocation", "DEVICE HOST")


class Engine:
    """The calls of an `ICudaEngine` and of its context, upon onnxruntime."""

    def __init__(self, memory):
        self.session, self.memory = ort.InferenceSession(model().SerializeToString()), memory
        self.inputs = {"x": ("HALF", (-1, 4)), "size": ("INT64", (2,))}
        self.outputs = {"y": ("HALF", (-1, 3)), "z": ("HALF", (-1, -1))}
        self.ports, self.shapes, self.addresses = {**self.inputs, **self.outputs}, {}, {}
        self.num_io_tensors, self.works = 4, True

    def create_execution_context(self):
        return self

    def get_tensor_name(self, index):
        return list(self.ports)[index]

    def get_tensor_dtype(self, name):
        return SimpleNamespace(name=self.ports[name][0])

    def get_tensor_mode(self, name):
        return Enums.TensorIOMode.INPUT if name in self.inputs else Enums.TensorIOMode.OUTPUT

    def get_tensor_location(self, name):
        return Enums.TensorLocation.HOST if name == "size" else Enums.TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name, profile):
        return ((1, 4), (2, 4), (8, 4))

    def get_tensor_shape(self, name):
        if not self.shapes:
            return self.ports[name][1]
        return {"y": (self.shapes["x"][0], 3), "z": (self.shapes["x"][0] * 2, 2)}[name]

    def set_input_shape(self, name, shape):
        self.shapes[name] = shape
        return name != "x" or (shape[1:] == (4,) and 1 <= shape[0] <= 8)

    def infer_shapes(self):
        return []

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        assert stream == 77
        assert ("size" not in self.addresses) or self.addresses["size"] not in self.memory.alive
        fed = {}
        for name, dtype in (("x", np.float16), ("size", np.int64)):
            value = np.empty(self.shapes[name], dtype)
            ctypes.memmove(value.ctypes.data, self.addresses[name], value.nbytes)
            fed[name] = value
        for name, value in zip(self.outputs, self.session.run(list(self.outputs), fed), strict=True):
            ctypes.memmove(self.addresses[name], np.ascontiguousarray(value).ctypes.data, value.nbytes)
        self.memory.calls.append("execute")
        return self.works


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def engine(memory):
    return Engine(memory)


def feeds(samples=2):
    x = np.random.default_rng(samples).standard_normal((4, samples)).astype(np.float16).T  # not contiguous
    return {"x": x, "size": np.array([samples * 2, 2])}


def test_an_engine_gives_what_onnxruntime_gives_for_any_batch_of_its_profile(engine, memory):
    running = Running(Enums, engine, memory)
    for samples in (2, 8, 1):
        found = running.run(feeds(samples))
        expected = engine.session.run(["y", "z"], feeds(samples))
        np.testing.assert_array_equal(found["y"], expected[0])
        np.testing.assert_array_equal(found["z"], expected[1])
    assert memory.alive == {}
    one_run = ["stream", "to device", "wait", "execute", "to host", "to host", "wait", "wait", "close"]
    assert memory.calls == one_run * 3


def test_what_an_engine_does_not_take_is_refused_by_name(engine, memory):
    running = Running(Enums, engine, memory)
    with pytest.raises(BadData, match=r"'x' of shape \[9, 4\] is not taken: its first profile is \[1, 4\] to \[8, 4\]"):
        running.run(feeds(9))
    with pytest.raises(BadData, match="'x' is float16 to the engine, and float32 is given"):
        running.run({**feeds(), "x": np.zeros((2, 4), np.float32)})
    with pytest.raises(BadData, match="the engine takes 'size', which is not given; given are x"):
        running.run({"x": feeds()["x"]})
    assert memory.alive == {} and memory.calls.count("stream") == memory.calls.count("close")


def test_an_engine_that_fails_or_whose_outputs_depend_on_data_says_so(engine, memory):
    running = Running(Enums, engine, memory)
    engine.works = False
    with pytest.raises(BadModel, match="execute_async_v3"):
        running.run(feeds())
    engine.get_tensor_shape = lambda name: (-1, 3)
    with pytest.raises(BadModel, match="the shape of output 'y' depends on data"):
        running.run(feeds())
    engine.ports["x"] = ("E8M0", (-1, 4))
    with pytest.raises(BadModel, match="the engine's 'x' is E8M0, which is not known here"):
        Running(Enums, engine, memory)
    assert memory.alive == {}


def test_events_are_around_each_run_and_the_first_ones_do_not_count(engine, memory):
    """By a clock that goes a second a look: 3 s of warm-up, then 4 s of runs."""
    ticks = iter(range(1000))
    found = measure(Running(Enums, engine, memory), feeds(), Settings(3, 4, 2), clock=lambda: next(ticks))
    steps = [call for call in memory.calls if call.startswith(("record", "execute"))]
    assert steps == ["record start", "execute", "record end"] * (len(steps) // 3)
    warm = len(steps) // 3 - len(found.runs)
    assert (warm, found.rounds) == (3, ((0.007, 0.009, 0.011, 0.013, 0.015),))
    assert "to host" not in memory.calls and memory.alive == {}


def test_at_least_so_many_runs_are_measured_however_long_they_take(engine, memory):
    ticks = iter(range(0, 10**6, 1000))
    found = measure(Running(Enums, engine, memory), feeds(), Settings(0, 0, 10), clock=lambda: next(ticks))
    assert len(found.runs) == 10


def test_a_measurement_of_nothing_is_refused():
    with pytest.raises(ValueError, match="1 run or more"):
        Settings(runs=0)


class Runtime:
    """`cuda.bindings.runtime`: every function gives its status and then its values."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        values = {"cudaMalloc": [4096], "cudaStreamCreate": [7], "cudaEventCreate": [9], "cudaEventElapsedTime": [1.5]}

        def call(*args):
            self.calls.append((name, *args))
            if name == "cudaGetErrorString":
                return 0, b"out of memory"
            return (2 if args == (1 << 60,) else 0, *values.get(name, []))

        return call


def test_cuda_is_called_as_its_package_has_it_and_failures_are_named(monkeypatch):
    runtime = Runtime()
    monkeypatch.setattr("onnxopt.backends.tensorrt.cuda.importlib.import_module", lambda name: runtime)
    cuda = Cuda()
    array = np.zeros((2, 3), np.float32)
    cuda.to_device(cuda.allocate(0), array, cuda.stream())
    cuda.to_host(array[:0], 4096, 7)
    assert cuda.milliseconds(9, 10) == 1.5
    assert runtime.calls == [
        ("cudaMalloc", 1), ("cudaStreamCreate",), ("cudaMemcpyAsync", 4096, array.ctypes.data, 24, 1, 7),
        ("cudaEventSynchronize", 10), ("cudaEventElapsedTime", 9, 10), ("cudaEventDestroy", 9),
        ("cudaEventDestroy", 10),
    ]  # fmt: skip
    with pytest.raises(CudaFailed, match=r"cudaMalloc: CUDA says 'out of memory' \(2\)"):
        cuda.allocate(1 << 60)


def test_without_cuda_python_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings.runtime", None)
    with pytest.raises(BadOption, match="pip install 'cuda-python"):
        Cuda()


@needs_builder
def test_the_bindings_have_what_stands_for_them_here():
    import tensorrt_rtx as trt

    called = {name for name in vars(Engine) if not name.startswith("_")} | {"num_io_tensors"}
    there = {*dir(trt.ICudaEngine), *dir(trt.IExecutionContext)}
    assert called <= there and hasattr(trt.Runtime, "deserialize_cuda_engine")
    for enum in (Enums.TensorIOMode, Enums.TensorLocation):
        assert {each.name for each in enum} <= set(getattr(trt, enum.__name__).__members__)
    assert set(ONNX_TYPES) <= set(trt.DataType.__members__)


@needs_builder
def test_a_file_that_tensorrt_does_not_load_is_refused_in_its_words(tmp_path, monkeypatch):
    (tmp_path / "m.engine").write_bytes(b"no engine")
    monkeypatch.setattr("onnxopt.backends.tensorrt.running.Cuda", Memory)
    with pytest.raises(BadModel, match=r"m\.engine: TensorRT cannot load it: .*Internal Error"):
        load(tmp_path / "m.engine", "tensorrt_rtx")


@pytest.fixture(scope="module")
def emitted(tmp_path_factory):
    """An engine with its sidecar, the model, and data."""
    folder = tmp_path_factory.mktemp("engine")
    found = parser.parse_model(
        '<ir_version: 9, opset_import: ["": 17]> g (float[N, 16] x) => (float[N, 8] y) { y = MatMul(x, w) }'
    )
    weights = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
    found.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(found, folder / "m.onnx")
    np.savez(folder / "d.npz", x=np.random.default_rng(1).standard_normal((6, 16)).astype(np.float32))
    emission = Emission.parse(f"tensorrt{{shapes=x:1x16..8x16}}={folder / 'm.engine'}")
    onnxopt.run(folder / "m.onnx", "eliminate-dead-nodes").write(None, [emission], {})
    return folder


@pytest.fixture
def a_gpu():
    if not vendor.probe("tensorrt_rtx")[1] or importlib.util.find_spec("cuda") is None:
        pytest.skip("runs only where there is an NVIDIA GPU, with cuda-python: nothing of it is shown here")


@needs_builder
def test_without_a_gpu_nothing_is_measured_and_verify_says_why(emitted, monkeypatch, capsys):
    monkeypatch.setattr(evaluating, "_probed", lambda module: ("1.7", 0))
    sidecar = json.loads((emitted / "m.engine.json").read_text())
    assert sidecar["latency"] == "not measured: no GPU"
    arguments = ["verify", emitted / "m.onnx", emitted / "m.engine", "--data", emitted / "d.npz"]
    monkeypatch.setattr("sys.argv", ["onnxopt", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "not measured: no GPU: TensorRT runs an engine on an NVIDIA GPU only" in " ".join(
        capsys.readouterr().err.split()
    )
    with pytest.raises(BadOption, match="not measured: no GPU"):
        evaluating.latency(emitted / "m.engine", {"x": np.zeros((1, 16), np.float32)})


@needs_builder
def test_an_engine_that_is_not_there_or_was_changed_is_refused_before_all(emitted, tmp_path):
    with pytest.raises(BadModel, match="is not there"):
        evaluating.require_gpu(tmp_path / "m.engine")
    (tmp_path / "m.engine").write_bytes(b"another")
    (tmp_path / "m.engine.json").write_bytes((emitted / "m.engine.json").read_bytes())
    with pytest.raises(BadModel, match="is not what its sidecar was written of"):
        evaluating.require_gpu(tmp_path / "m.engine")


@needs_builder
@pytest.mark.parametrize("batch", [-1, 3])
def test_an_engine_is_judged_beside_its_model_in_batches_that_it_takes(emitted, monkeypatch, batch):
    """The children are stood for by onnxruntime: what they are asked, and what becomes of the answers."""
    session, asked = ort.InferenceSession(emitted / "m.onnx"), []

    def in_child(target, engine, module, feeds=(), *, timeout):
        assert (engine, module) == (emitted / "m.engine", "tensorrt_rtx") and timeout > 0
        if target.endswith(":ports_of"):
            dtype = np.dtype(np.float32)
            return (EnginePort("x", dtype, (batch, 16), True), EnginePort("y", dtype, (batch, 8), False))
        asked.extend(fed["x"].shape for fed in feeds)
        return [{"y": session.run(None, fed)[0] + np.float32(1e-3)} for fed in feeds]

    monkeypatch.setattr(evaluating, "_probed", lambda module: ("1.7", 1))
    monkeypatch.setattr(evaluating, "run_in_child", in_child)
    data = open_data(str(emitted / "d.npz"), inputs_of(onnx.load(emitted / "m.onnx")))
    judge = Metric.of("snr", data, None)
    found = Tensorrt.evaluate(emitted / "m.engine", emitted / "m.onnx", data, judge, lambda *_: None)
    assert found.samples == 6 and 50 < found.model < 90
    assert asked == ([(3, 16)] * 2 if batch == 3 else [(1, 16)] * 6)


@needs_builder
def test_on_a_gpu_an_engine_gives_what_onnxruntime_gives_and_is_measured(a_gpu, emitted, monkeypatch, capsys):
    arguments = ["verify", emitted / "m.onnx", emitted / "m.engine", "--data", emitted / "d.npz", "--at-least", "40"]
    monkeypatch.setattr("sys.argv", ["onnxopt", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
    found = evaluating.latency(emitted / "m.engine", {"x": np.zeros((1, 16), np.float32)}, Settings(0.01, 0.05, 10))
    assert len(found.runs) >= 10 and found.least > 0
