"""A session whose outputs are looked at where onnxruntime has them."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import ModelProto

from onnxopt.data.spec import Value, inputs_of, outputs_of
from onnxopt.ir import dtypes
from onnxopt.runtime.executable import header_of
from onnxopt.runtime.session import NotRunnable, Session

Array = npt.NDArray[Any]

_QUIET = 4


class TapSession(Session):
    """A session for many large outputs of which nothing is kept.

    Copied out as `run` does it, the activations of an image of 256 x 256 would stand in memory twice. onnxruntime's
    memory pattern is off: it reserves once more what the first run took, and saves no time here (tinybeauty with 42
    tensors: 280 MB with it, 185 without, 38 and 36 ms). Its threads sleep when they have nothing to do: while the
    outputs are looked at they would spin on the other processors, which took as long as the model did.

    Args:
        model: As for `Session`.
        optimize: As for `Session`, but on.
        in_order: Run nodes in the order of the file, and change no layouts, which would move them: so that what stands
            behind a node can take what the node made before the next one runs.

    Raises:
        NotRunnable: onnxruntime refuses the model.
    """

    def __init__(self, model: ModelProto | Path, *, optimize: bool = True, in_order: bool = False) -> None:
        options = ort.SessionOptions()
        level = ort.GraphOptimizationLevel
        most = level.ORT_ENABLE_EXTENDED if in_order else level.ORT_ENABLE_ALL
        options.graph_optimization_level = most if optimize else level.ORT_DISABLE_ALL
        if in_order:
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        options.enable_mem_pattern = False
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _QUIET
        options.use_deterministic_compute = True
        try:
            header = header_of(model)
            self.inputs, self.outputs = tuple(inputs_of(header)), tuple(outputs_of(header))
            source = str(model) if isinstance(model, Path) else model.SerializeToString()
            self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise NotRunnable(f"onnxruntime cannot load the model to calibrate it: {reason}") from error

    def views(self, feeds: Mapping[str, Value], outputs: Sequence[str]) -> dict[str, Value]:
        """Run once: the outputs as read-only arrays over onnxruntime's own memory, which they keep alive.

        Feeds and outputs that are no tensors of numpy's types are passed as `run` passes them.

        Raises:
            NotRunnable: As from `run`.
        """
        if not outputs or not all(_is_plain(value) for value in feeds.values()):
            return self.run(feeds, outputs) if outputs else {}
        boxes = {name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value)) for name, value in feeds.items()}
        options = ort.RunOptions()
        options.log_severity_level = _QUIET
        try:
            found = self._session.run_with_ort_values(list(outputs), boxes, options)
        except Exception:  # noqa: BLE001  onnxruntime's classes have no common base; `run` manages, or says it our way
            return self.run(feeds, outputs)
        return {name: _view(value) for name, value in zip(outputs, found, strict=True)}


def _is_plain(value: Value) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.isbuiltin == 1 and value.dtype.kind in "fiub"


def _view(value: ort.OrtValue) -> Value:
    """An array over the value's memory; what is no tensor of whole bytes an element comes as it is."""
    if not value.is_tensor():
        return None
    dtype, size = dtypes.to_numpy(value.element_type()), value.tensor_size_in_bytes()
    shape = tuple(value.shape())
    if dtype is None or dtype.hasobject or dtype.itemsize * math.prod(shape) != size:
        return None
    if not size:
        return np.zeros(shape, dtype)
    memory = (ctypes.c_byte * size).from_address(value.data_ptr())
    memory.owner = value  # for as long as an array looks at it
    array: Array = np.frombuffer(memory, np.uint8).view(dtype).reshape(shape)
    array.flags.writeable = False
    return array
