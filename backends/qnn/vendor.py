"""The child's side: what calls Qualcomm's libraries. It runs in a fresh process (see `htp.py`), since they crash.

All options are of onnxruntime's QNN plugin 2.7. It ignores unknown ones in silence, so that none is passed through.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import onnxruntime_qnn

MODEL, STAGE, LOG = "model.onnx", "stage", "log"
"""Files of the folder: the model to build, what the child is at, and what the libraries print."""
WRAPPER = "context.onnx"
"""The model of one EPContext node by which onnxruntime loads the context binary."""
_PROVIDER = "QNNExecutionProvider"
_ERRORS = 3
"""Onnxruntime's severity of what goes into the log."""


def build(folder: str, soc: int, feeds: Sequence[Mapping[str, Any]], *, compile_context: bool) -> dict[str, Any]:
    """Write the DLC of `folder`/model.onnx, then compile it, then run what was compiled.

    Each step is taken where the one before it worked. What the libraries write stays in the folder.

    Args:
        folder: Of the child alone.
        soc: Qualcomm's number of it.
        feeds: Inputs to run on the emulator, which implies `compile_context`.
        compile_context: Whether to compile a context binary.

    Returns:
        `error`: the engine's words, empty where all worked; `outputs`: those of each feed, by name.
    """
    place = Path(folder)
    _log_to(place / LOG)
    found: dict[str, Any] = {"error": "", "outputs": []}
    try:
        _at(place, "loading")
        device = _device()
        _at(place, "validating")
        _session(place / MODEL, device, _writing(folder, soc), {})
        if compile_context or feeds:
            if len(list(place.glob("*.dlc"))) != 1:
                return found
            _at(place, "compiling")
            _session(place / MODEL, device, _computing(soc), _context(place))
        if feeds:
            found["outputs"] = _run(place, device, soc, feeds)
        _at(place, "done")
    except Exception as error:  # noqa: BLE001  onnxruntime's classes have no common base
        found["error"] = reason(error)
    return found


def run(folder: str, soc: int, feeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Run the context binary of `folder`, whose wrapper is there too; returns as `build` does."""
    place = Path(folder)
    _log_to(place / LOG)
    try:
        _at(place, "loading")
        outputs = _run(place, _device(), soc, feeds)
        _at(place, "done")
        return {"error": "", "outputs": outputs}
    except Exception as error:  # noqa: BLE001  as above
        return {"error": reason(error), "outputs": []}


def reason(error: Exception) -> str:
    """What onnxruntime says in one line, without its prefix `[ONNXRuntimeError] : 9 : FAIL : `."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : (\w+ : )?", "", " ".join(str(error).split()))
    return re.sub(r"Load model from \S+ failed:", "onnxruntime cannot load the model: ", text) or type(error).__name__


def _run(place: Path, device: Any, soc: int, feeds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    _at(place, "running")
    session = _session(place / WRAPPER, device, _computing(soc), {})
    names = [output.name for output in session.get_outputs()]
    shapes = {each.name: each.shape for each in session.get_inputs()}
    outputs = []
    for fed in feeds:
        values = session.run(names, {name: _taken(fed[name], shape) for name, shape in shapes.items() if name in fed})
        outputs.append({name: np.asarray(value) for name, value in zip(names, values, strict=True)})
    return outputs


def _taken(value: Any, shape: Sequence[Any]) -> Any:
    """An input as HTP has it, which knows no rank 0."""
    array = np.asarray(value)
    return array.reshape(shape) if array.ndim == 0 and list(shape) == [1] else array


def _device() -> Any:
    """Register the plugin and return its device. A process can register it once."""
    known = [each for each in ort.get_ep_devices() if each.ep_name == _PROVIDER]
    if not known:
        ort.register_execution_provider_library(_PROVIDER, onnxruntime_qnn.get_library_path())
        known = [each for each in ort.get_ep_devices() if each.ep_name == _PROVIDER]
    if not known:
        raise RuntimeError("the plugin has no device here")
    return known[0]


def _session(model: Path, device: Any, provider: Mapping[str, str], config: Mapping[str, str]) -> Any:
    """A session in which no node may go to the CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS
    options.intra_op_num_threads = 1
    for key, value in ({"session.disable_cpu_ep_fallback": "1"} | dict(config)).items():
        options.add_session_config_entry(key, value)
    options.add_provider_for_devices([device], dict(provider))
    return ort.InferenceSession(str(model), options, enable_fallback=0)


def _computing(soc: int) -> dict[str, str]:
    """Options for HTP. Graph inputs and outputs keep their types: Q/DQ at the border are computed inside."""
    return {
        "backend_path": onnxruntime_qnn.get_qnn_htp_path(),
        "soc_model": str(soc),
        "offload_graph_io_quantization": "0",
    }


def _writing(folder: str, soc: int) -> dict[str, str]:
    """Options under which a session validates each operator against HTP and writes what there is to know.

    It does not compute: what it writes is a DLC, made by the library of `qnn_ir_backend_path`, which alone would accept
    too much.
    """
    library = Path(onnxruntime_qnn.LIB_DIR_FULL_PATH) / "libQnnIr.so"
    return {
        **_computing(soc),
        "dump_qnn_ir_dlc": "1",
        "dump_qnn_ir_dlc_dir": folder,
        "qnn_ir_backend_path": str(library),
        "enable_framework_op_trace": "1",
        "framework_op_trace_dir": folder,
        "dump_json_qnn_graph": "1",
        "json_qnn_graph_dir": folder,
    }


def _context(place: Path) -> dict[str, str]:
    """Session options that compile a context binary into a file of its own."""
    return {
        "ep.context_enable": "1",
        "ep.context_file_path": str(place / WRAPPER),
        "ep.context_embed_mode": "0",
    }


def _at(place: Path, stage: str) -> None:
    (place / STAGE).write_text(stage)


def _log_to(path: Path) -> None:
    """Whatever is printed, by the libraries too, goes there: the parent reads it also where all went well."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
