"""onnxopt: a compiler for trained models.

import onnxopt

result = onnxopt.run("model.onnx", "O2", data="calibration.npz", verify_each=True)
result.save("model.opt.onnx")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxopt.api import RunResult, run
    from onnxopt.engine import build_engine
    from onnxopt.frontends import lower
    from onnxopt.pipeline.base import Context, Pass, Preserves
    from onnxopt.runtime.batching import Batcher

__all__ = ["Batcher", "Context", "Pass", "Preserves", "RunResult", "build_engine", "lower", "run"]

_HOMES = {
    "Batcher": "onnxopt.runtime.batching",
    "Context": "onnxopt.pipeline.base",
    "Pass": "onnxopt.pipeline.base",
    "Preserves": "onnxopt.pipeline.base",
    "RunResult": "onnxopt.api",
    "build_engine": "onnxopt.engine",
    "lower": "onnxopt.frontends",
    "run": "onnxopt.api",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the command line must not wait for onnxruntime to print help."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'onnxopt' has no attribute '{name}'")
