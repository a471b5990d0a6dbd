"""What tests do in a child: TensorRT stays out of the process of the tests."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from onnxopt.backends.tensorrt import vendor
from onnxopt.backends.tensorrt.wanted import ENGINE, LOG, MODEL, Built, Wanted


def build_all(models: Mapping[str, bytes]) -> dict[str, tuple[Built, str, str]]:
    """What the parser and the builder alone make of models, one after the other, what they say, and of the engine the
    digest.

    After the first that does not build the others are left: they would come out otherwise.
    """
    found: dict[str, tuple[Built, str, str]] = {}
    for name, model in models.items():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / MODEL).write_bytes(model)
            built = vendor.build(folder, Wanted())
            engine = (Path(folder) / ENGINE).read_bytes() if built.is_built else b""
            log = (Path(folder) / LOG).read_text(errors="replace")
            found[name] = built, log, hashlib.sha256(engine).hexdigest()
        if not built.is_built:
            break
    return found
