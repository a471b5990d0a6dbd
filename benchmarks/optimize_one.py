"""One optimizer on one file, in a process of its own: python benchmarks/optimize_one.py NAME MODEL OUT [PIPELINE].

Prints the seconds and the processor time that load, optimization and save took, imports not included, as JSON. Since
several tools import much when they are first used, each does a small model first, before the clock starts. Each peer is
used as its README says, with its defaults; weights outside the file are written outside the file again, the way that
the tool has for it. PIPELINE is for ours, by default O1.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

Work = Callable[[], None]
_SMALL = 200
"""Nodes of the model that is done first."""
_LARGE = 2**31
"""Bytes. No protobuf is larger: weights beyond this are outside the file."""


def onnxopt(model: str, output: str, pipeline: str) -> Work:
    """A pipeline through our API."""
    import onnxopt as ours
    from onnxopt import ir  # noqa: F401  loaded when first used, which belongs to the start
    from onnxopt.ir.save import save  # noqa: F401
    from onnxopt.runtime.session import Session  # noqa: F401

    return lambda: ours.run(model, pipeline).save(output)


def onnxslim(model: str, output: str) -> Work:
    """Its defaults."""
    import onnxslim as slim  # type: ignore[import-untyped,unused-ignore]

    options = {"save_as_external_data": True} if _is_large(model) else {}
    return lambda: slim.slim(model, output, **options)


def onnxsim(model: str, output: str) -> Work:
    """Its defaults, on a loaded model, as its README has it; from path to path where a model is too large."""
    import onnx
    import onnxsim as sim

    def work() -> None:
        if _is_large(model):
            sim.simplify(model, output_path=output)
        else:
            onnx.save(sim.simplify(onnx.load(model))[0], output)

    return work


def onnxoptimizer(model: str, output: str) -> Work:
    """Its defaults: all passes that fuse and eliminate."""
    import onnx
    import onnxoptimizer as optimizer  # type: ignore[import-untyped,unused-ignore]

    return lambda: _save(optimizer.optimize(onnx.load(model)), output, external=_is_large(model))


def onnxscript(model: str, output: str) -> Work:
    """`onnxscript.optimizer.optimize`, on its own graph, which leaves weights on disk until they are read."""
    import onnx_ir as theirs  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from onnxscript import optimizer  # type: ignore[import-not-found,import-untyped,unused-ignore]

    def work() -> None:
        loaded = theirs.load(model)
        external = f"{Path(output).name}.data" if _is_large(model) else None
        theirs.save(optimizer.optimize(loaded) or loaded, output, external_data=external)

    return work


PEERS: dict[str, Callable[[str, str], Work]] = {
    "onnxsim": onnxsim,
    "onnxslim": onnxslim,
    "onnxoptimizer": onnxoptimizer,
    "onnxscript": onnxscript,
}


def _is_large(model: str) -> bool:
    data = Path(model).with_suffix(".data")
    return data.exists() and data.stat().st_size > _LARGE


def _save(model: object, output: str, *, external: bool) -> None:
    import onnx

    location = f"{Path(output).name}.data"
    onnx.save_model(model, output, save_as_external_data=external, location=location)  # type: ignore[arg-type]


def _get_going(make: Callable[[str, str], Work]) -> None:
    """Run once on a small model of many operators."""
    import onnx
    from synthetic import large_model

    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.onnx"
        onnx.save(large_model(_SMALL), small)
        try:
            make(str(small), str(small.with_name("out.onnx")))()
        except Exception as error:  # noqa: BLE001  a peer may raise what it likes; what counts is the other model
            sys.stderr.write(f"on a small model: {type(error).__name__}: {error}\n")


def main() -> None:
    """Run the one that is named."""
    name, model, output, *pipeline = sys.argv[1:]
    make = partial(onnxopt, pipeline=pipeline[0] if pipeline else "O1") if name == "onnxopt" else PEERS[name]
    _get_going(make)
    work = make(model, output)
    start, busy = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    print(json.dumps({"seconds": seconds, "cpu": cpu, "version": importlib.metadata.version(name)}))


if __name__ == "__main__":
    main()
