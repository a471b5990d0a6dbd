"""The few calls of CUDA's runtime that running an engine takes, through NVIDIA's `cuda-python`."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import numpy as np

from onnxopt.data.spec import Array
from onnxopt.errors import BadOption, OnnxoptError

_MODULE = "cuda.bindings.runtime"
_TO_DEVICE, _TO_HOST = "cudaMemcpyHostToDevice", "cudaMemcpyDeviceToHost"


class CudaFailed(OnnxoptError):
    """A call of CUDA failed: the text names it, and says why."""


class Device(Protocol):
    """What an engine is run upon. Pointers, streams and events are integers, or what CUDA's package makes of them."""

    def allocate(self, size: int) -> int:
        """A pointer to so many bytes on the device."""

    def free(self, pointer: int) -> None:
        """Give them back."""

    def to_device(self, pointer: int, array: Array, stream: Any) -> None:
        """Copy a contiguous array there, in the stream's turn; it must live until the stream is done."""

    def to_host(self, array: Array, pointer: int, stream: Any) -> None:
        """Copy into a contiguous array, in the stream's turn."""

    def stream(self) -> Any:
        """A new stream."""

    def handle(self, stream: Any) -> int:
        """A stream as TensorRT takes it."""

    def wait(self, stream: Any) -> None:
        """Until all of it is done."""

    def close(self, stream: Any) -> None:
        """Give a stream back."""

    def event(self) -> Any:
        """A new event."""

    def record(self, event: Any, stream: Any) -> None:
        """Note when the stream comes here."""

    def milliseconds(self, start: Any, end: Any) -> float:
        """Between two events that a stream went past; they are given back."""


class Cuda:
    """The device, as `cuda-python` has it (`cuda.bindings.runtime`, 12.x or newer).

    Raises:
        BadOption: It is not installed.
    """

    def __init__(self) -> None:
        try:
            self._api: Any = importlib.import_module(_MODULE)
        except ImportError as error:
            raise BadOption(
                f"running an engine needs NVIDIA's cuda-python, and {_MODULE} cannot be imported ({error}): "
                "pip install 'cuda-python>=12.6,<13'"
            ) from error

    def allocate(self, size: int) -> int:
        """As in `Device`; at least one byte, for CUDA gives no pointer to none."""
        return int(self._call("cudaMalloc", max(1, size)))

    def free(self, pointer: int) -> None:
        """As in `Device`."""
        self._call("cudaFree", pointer)

    def to_device(self, pointer: int, array: Array, stream: Any) -> None:
        """As in `Device`."""
        self._copy(pointer, array.ctypes.data, array.nbytes, _TO_DEVICE, stream)

    def to_host(self, array: Array, pointer: int, stream: Any) -> None:
        """As in `Device`."""
        self._copy(array.ctypes.data, pointer, array.nbytes, _TO_HOST, stream)

    def stream(self) -> Any:
        """As in `Device`."""
        return self._call("cudaStreamCreate")

    def handle(self, stream: Any) -> int:
        """As in `Device`."""
        return int(stream)

    def wait(self, stream: Any) -> None:
        """As in `Device`."""
        self._call("cudaStreamSynchronize", stream)

    def close(self, stream: Any) -> None:
        """As in `Device`."""
        self._call("cudaStreamDestroy", stream)

    def event(self) -> Any:
        """As in `Device`."""
        return self._call("cudaEventCreate")

    def record(self, event: Any, stream: Any) -> None:
        """As in `Device`."""
        self._call("cudaEventRecord", event, stream)

    def milliseconds(self, start: Any, end: Any) -> float:
        """As in `Device`."""
        self._call("cudaEventSynchronize", end)
        found = float(self._call("cudaEventElapsedTime", start, end))
        for event in (start, end):
            self._call("cudaEventDestroy", event)
        return found

    def _copy(self, to: int, source: int, size: int, kind: str, stream: Any) -> None:
        if size:
            self._call("cudaMemcpyAsync", to, source, size, getattr(self._api.cudaMemcpyKind, kind), stream)

    def _call(self, name: str, *args: Any) -> Any:
        """What a function returns besides its status, which comes first."""
        status, *values = getattr(self._api, name)(*args)
        if int(status) != 0:
            _, text = self._api.cudaGetErrorString(status)
            said = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
            raise CudaFailed(f"{name}: CUDA says '{said}' ({int(status)})")
        return values[0] if values else None


def contiguous(array: Array) -> Array:
    """The same values, as a copy to the device takes them."""
    return np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes a vector of a scalar
