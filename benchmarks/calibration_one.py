"""One calibration in a process of its own: `calibration_one.py TOOL METHOD MODEL SAMPLES [NAMES]`, prints JSON.

TOOL is `onnxopt` or `onnxruntime`; `plain` runs the model and calibrates nothing; `names` prints which tensors
onnxruntime calibrates, and NAMES is a file with these. Samples are made as they are asked for, the same for both.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

START = time.perf_counter()

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402

PEERS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy", "mse": "Distribution"}
"""onnxruntime's calibrator by the method that does most nearly the same. Distribution is for 8-bit floats, and collects
what a search for the smallest error would; none of theirs searches."""


def samples(shape: tuple[int, ...], count: int) -> Iterator[npt.NDArray[np.float32]]:
    """Smooth images with noise, in [0, 1]: their activations spread as those of photographs do."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, shape[-1], dtype=np.float32)
    for _ in range(count):
        wave = np.sin(rng.uniform(1, 9) * ramp + rng.uniform(0, 6)) * 0.4 + 0.5
        image = rng.random(shape, np.float32)
        image *= 0.2
        image += wave.astype(np.float32) * 0.8
        yield image


def main() -> None:
    """Run what the arguments say."""
    tool, method, path, count, *rest = sys.argv[1:]
    runs: dict[str, Callable[..., Any]] = {"onnxopt": _ours, "onnxruntime": _theirs, "plain": _plain, "names": _names}
    print(json.dumps(runs[tool](method, path, int(count), *rest)))


def _ours(method: str, path: str, count: int, names: str) -> dict[str, Any]:
    from onnxopt import ir
    from onnxopt.data import inputs_of
    from onnxopt.data.dataset import data_set
    from onnxopt.quantization.collecting import collect
    from onnxopt.quantization.encoding import Integer
    from onnxopt.quantization.request import Request

    imported = _now()
    graph = ir.load(path)
    spec = inputs_of(ir.to_proto(graph, max_inline=0))[0]
    shape = _sizes(spec.shape)
    data = data_set("generated", [spec], lambda: ({spec.name: image} for image in samples(shape, count)), count)
    integer = Integer("uint8", symmetric=False)
    requests = [Request(name, integer) for name in json.loads(Path(names).read_text())]
    ranges = collect(graph, requests, data, method=method)  # type: ignore[arg-type]
    return {**_finished(imported), "tensors": len(ranges.by_name)}


def _theirs(method: str, path: str, count: int, *_: str) -> dict[str, Any]:
    from onnxruntime.quantization import CalibrationDataReader

    calibrator, spec = _calibrator(method, path)
    imported = calibrator.imported

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images = samples(_sizes(spec.shape), count)

        def get_next(self) -> Any:
            image = next(self._images, None)
            return None if image is None else {spec.name: image[None]}

    calibrator.collect_data(Reader())
    found = calibrator.compute_data()
    return {**_finished(imported), "tensors": len(list(found.keys()))}


def _plain(method: str, path: str, count: int, *_: str) -> dict[str, Any]:
    import onnxruntime
    from onnx import load

    from onnxopt.data.spec import inputs_of

    imported = _now()
    spec = inputs_of(load(path))[0]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for image in samples(_sizes(spec.shape), count):
        session.run(None, {spec.name: image[None]})
    return {**_finished(imported), "tensors": 0}


def _names(method: str, path: str, count: int) -> list[str]:
    calibrator, _ = _calibrator(method, path)
    return sorted(calibrator.tensors_to_calibrate)


def _calibrator(method: str, path: str) -> Any:
    """onnxruntime's, as its quantize_static makes it with its defaults."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    from onnxopt.data.spec import inputs_of

    imported = _now()
    kinds = list({*QDQRegistry, *QLinearOpsRegistry})
    folder = tempfile.mkdtemp()
    calibrator = create_calibrator(
        path,
        kinds,
        augmented_model_path=str(Path(folder) / "augmented.onnx"),
        calibrate_method=getattr(CalibrationMethod, PEERS[method]),
    )
    calibrator.imported = imported
    return calibrator, inputs_of(onnx.load(path))[0]


def _sizes(shape: Any) -> tuple[int, ...]:
    """Of one sample; what the model leaves open is a line of text of 48 x 192."""
    return tuple(size if isinstance(size, int) else open_ for size, open_ in zip(shape[1:], (3, 48, 192), strict=True))


def _now() -> tuple[float, float, int]:
    return time.perf_counter() - START, time.process_time(), _peak()


def _finished(imported: tuple[float, float, int]) -> dict[str, Any]:
    seconds, cpu, peak = _now()
    before = {"import_seconds": imported[0], "import_peak": imported[2]}
    return {**before, "seconds": seconds - imported[0], "cpu": cpu - imported[1], "peak": peak}


def _peak() -> int:
    """Most bytes that this process had resident so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
