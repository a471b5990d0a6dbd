"""Which TensorRT is here: TensorRT-RTX, which builds without a GPU, or the full TensorRT 10 or 11 with one."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from typing import Literal

from onnxopt.errors import BadOption
from onnxopt.runtime.child import ChildFailed, run_in_child

Choice = Literal["auto", "rtx", "enterprise"]
_PROBE = "onnxopt.backends.tensorrt.vendor:probe"
_PROBE_SECONDS = 120.0
_OLDEST = 10
_INSTALL = "pip install 'onnxopt[tensorrt]' (NVIDIA's terms apply)"


@dataclass(frozen=True)
class Flavor:
    """An installation."""

    name: Literal["rtx", "enterprise"]
    module: str
    """The Python module of its bindings."""
    caches_timings: bool
    """Whether it measures kernels while it builds: RTX does that on the device, when the engine is loaded."""


RTX = Flavor("rtx", "tensorrt_rtx", caches_timings=False)
ENTERPRISE = Flavor("enterprise", "tensorrt", caches_timings=True)


def find(choice: Choice = "auto") -> Flavor:
    """The installation to build with: of both, the full TensorRT where it can build, which needs a GPU.

    Raises:
        BadOption: It is not here, or cannot build here.
    """
    if choice != "rtx" and not (why := _no_enterprise()):
        return ENTERPRISE
    if choice == "enterprise":
        raise BadOption(f"flavor=enterprise: {why}")
    if importlib.util.find_spec(RTX.module) is None:
        raise BadOption(f"tensorrt needs TensorRT-RTX, which is not installed: {_INSTALL}")
    return RTX


@functools.cache
def _no_enterprise() -> str:
    """Why the full TensorRT cannot build here, in one line; empty where it can.

    The package may be there without its libraries, and be empty: only importing it tells, which is done in a child.
    """
    if importlib.util.find_spec(ENTERPRISE.module) is None:
        return "the full TensorRT is not installed: pip install tensorrt (NVIDIA's terms apply)"
    try:
        version, gpus = run_in_child(_PROBE, ENTERPRISE.module, timeout=_PROBE_SECONDS)
    except ChildFailed as failed:
        return f"the full TensorRT cannot be imported: {failed}"
    if not version:
        return "the package tensorrt is there without its libraries (it has no Builder): install it from NVIDIA's index"
    if int(version.split(".")[0]) < _OLDEST:
        return f"the full TensorRT is {version}, and {_OLDEST} or newer is needed"
    return "" if gpus else "the full TensorRT builds on the GPU that it builds for, and there is none: use flavor=rtx"
