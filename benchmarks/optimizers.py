"""One optimizer on one file, in a process of its own: python benchmarks/optimizers.py NAME MODEL OUT.

Prints the seconds and the processor time that load, optimization and save took, imports not included, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def onnxopt(model: str, output: str) -> Callable[[], None]:
    """Preset O1 through our API."""
    import onnxopt as ours
    from onnxopt import ir  # noqa: F401  loaded when first used, which belongs to the start
    from onnxopt.ir.save import save  # noqa: F401
    from onnxopt.runtime.session import Session  # noqa: F401

    return lambda: ours.run(model, "O1").save(output)


def onnxslim(model: str, output: str) -> Callable[[], None]:
    """Its defaults."""
    import onnxslim as slim  # type: ignore[import-untyped,unused-ignore]

    return lambda: slim.slim(model, output)


def onnxsim(model: str, output: str) -> Callable[[], None]:
    """Its defaults, on a loaded model: from a path it would save what it loads once more."""
    import onnx
    import onnxsim as sim

    def work() -> None:
        simplified, _ = sim.simplify(onnx.load(model))
        onnx.save(simplified, output)

    return work


def main() -> None:
    """Run the one that is named."""
    name, model, output = sys.argv[1:]
    work = {"onnxopt": onnxopt, "onnxslim": onnxslim, "onnxsim": onnxsim}[name](model, output)
    start, busy = time.perf_counter(), time.process_time()
    work()
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - busy}))


if __name__ == "__main__":
    main()
