"""An engine, run on a GPU. The calls are those that TensorRT 10, 11 and RTX share."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from onnxopt.backends.tensorrt.cuda import Cuda, Device, contiguous
from onnxopt.data.spec import Array, Feeds
from onnxopt.errors import BadData, BadModel
from onnxopt.ir import dtypes

ONNX_TYPES = {
    "FLOAT": "FLOAT", "HALF": "FLOAT16", "BF16": "BFLOAT16", "FP8": "FLOAT8E4M3FN", "INT8": "INT8", "UINT8": "UINT8",
    "INT32": "INT32", "INT64": "INT64", "BOOL": "BOOL",
}  # fmt: skip
"""By TensorRT's name. 4-bit types are never at the border of a network."""


@dataclass(frozen=True)
class EnginePort:
    """An input or output of an engine."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """-1 where a dimension is dynamic."""
    is_input: bool


class Running:
    """A loaded engine and its context.

    Args:
        trt: The module of the bindings.
        engine: An `ICudaEngine`.
        device: What it runs upon.
        owner: What has to live as long as the engine.

    Raises:
        BadModel: It has an input or output of a type that is not known here, or no context can be made.
    """

    def __init__(self, trt: Any, engine: Any, device: Device, owner: Any = None) -> None:
        self._trt, self._engine, self._owner = trt, engine, owner
        self.device = device
        self.ports = tuple(self._port(engine.get_tensor_name(index)) for index in range(engine.num_io_tensors))
        """In the engine's order."""
        self._context = engine.create_execution_context()
        if self._context is None:
            raise BadModel("TensorRT makes no execution context of the engine: the GPU has too little memory for it")

    def run(self, feeds: Mapping[str, Array]) -> Feeds:
        """All outputs for these inputs.

        Raises:
            BadData: An input is missing, or of a type or shape that no profile of the engine takes.
            BadModel: The shape of an output depends on data, or the engine failed.
            CudaFailed: No memory.
        """
        with self.prepared(feeds) as bound:
            self.enqueue(bound)
            for name, array in bound.outputs.items():
                if name in bound.pointers:
                    self.device.to_host(array, bound.pointers[name], bound.stream)
            self.device.wait(bound.stream)
            return dict(bound.outputs)

    @contextmanager
    def prepared(self, feeds: Mapping[str, Array]) -> Iterator[Bound]:
        """The inputs on the device, and room for the outputs, until the block ends: for measuring what a run takes."""
        bound = Bound({}, {}, {}, self.device.stream())
        try:
            for port in self.ports:
                if port.is_input:
                    self._bind_input(port, feeds, bound)
            if unknown := self._context.infer_shapes():
                raise BadModel(f"the engine does not know the shape of '{unknown[0]}' from the shapes of its inputs")
            for port in self.ports:
                if not port.is_input:
                    self._bind_output(port, bound)
            self.device.wait(bound.stream)
            yield bound
        finally:
            self.device.wait(bound.stream)
            for pointer in bound.pointers.values():
                self.device.free(pointer)
            self.device.close(bound.stream)

    def enqueue(self, bound: Bound) -> None:
        """Run once, in the stream's turn.

        Raises:
            BadModel: TensorRT refuses.
        """
        if not self._context.execute_async_v3(self.device.handle(bound.stream)):
            raise BadModel("the engine failed: TensorRT's execute_async_v3 says no more than that")

    def _bind_input(self, port: EnginePort, feeds: Mapping[str, Array], bound: Bound) -> None:
        if port.name not in feeds:
            raise BadData(f"the engine takes '{port.name}', which is not given; given are {', '.join(feeds) or 'none'}")
        array = contiguous(np.asarray(feeds[port.name]))
        if array.dtype != port.dtype:
            raise BadData(f"'{port.name}' is {port.dtype} to the engine, and {array.dtype} is given")
        if not self._context.set_input_shape(port.name, array.shape):
            raise BadData(f"'{port.name}' of shape {list(array.shape)} is not taken: {self._taken(port)}")
        bound.inputs[port.name] = array
        self._bind(port, array, bound)
        if port.name in bound.pointers:
            self.device.to_device(bound.pointers[port.name], array, bound.stream)

    def _bind_output(self, port: EnginePort, bound: Bound) -> None:
        shape = tuple(int(size) for size in self._context.get_tensor_shape(port.name))
        if min(shape, default=0) < 0:
            raise BadModel(f"the shape of output '{port.name}' depends on data: such engines are not run here")
        array: Array = np.empty(shape, port.dtype)
        bound.outputs[port.name] = array
        self._bind(port, array, bound)

    def _bind(self, port: EnginePort, array: Array, bound: Bound) -> None:
        """Tell the engine where a tensor is: on the device, or for shapes and such on the host."""
        is_here = self._engine.get_tensor_location(port.name) == self._trt.TensorLocation.HOST
        if not is_here:
            bound.pointers[port.name] = self.device.allocate(array.nbytes)
        address = array.ctypes.data if is_here else bound.pointers[port.name]
        if not self._context.set_tensor_address(port.name, address):
            raise BadModel(f"TensorRT does not take an address for '{port.name}'")

    def _taken(self, port: EnginePort) -> str:
        if -1 not in port.shape:
            return f"the engine is built for {list(port.shape)}"
        least, _, most = (list(shape) for shape in self._engine.get_tensor_profile_shape(port.name, 0))
        return f"its first profile is {least} to {most}: emit it with other shapes"

    def _port(self, name: str) -> EnginePort:
        kind = self._engine.get_tensor_dtype(name).name
        if kind not in ONNX_TYPES:
            raise BadModel(f"the engine's '{name}' is {kind}, which is not known here")
        dtype = dtypes.to_numpy(TensorProto.DataType.Value(ONNX_TYPES[kind]))
        if dtype is None:
            raise BadModel(f"the engine's '{name}' is {kind}, which the installed ml_dtypes lacks: install a newer one")
        shape = tuple(int(size) for size in self._engine.get_tensor_shape(name))
        return EnginePort(name, dtype, shape, self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT)


@dataclass(frozen=True)
class Bound:
    """Where the tensors of one run are. The arrays live as long, for the engine holds their addresses."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    pointers: dict[str, int]
    """On the device; a tensor without one is on the host."""
    stream: Any


def load(path: Path, module: str) -> Running:
    """An engine from its file, on the GPU of this machine.

    Raises:
        BadOption: cuda-python is not installed.
        BadModel: TensorRT does not take the file: it is none, of another version, or for another GPU.
    """
    device = Cuda()
    trt: Any = importlib.import_module(module)
    said: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc]  # the bindings have no types
        """Keeps what went wrong."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                said.append(" ".join(str(message).split()))

    runtime = trt.Runtime(Logger())
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise BadModel(f"{path}: TensorRT cannot load it: {said[0] if said else 'it does not say why'}")
    return Running(trt, engine, device, runtime)
