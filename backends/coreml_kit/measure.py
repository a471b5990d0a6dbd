"""Measure a Core ML package on this Mac, for each choice of compute units, and write latency.json beside this file.

    pip install coremltools
    python3 measure.py [--iterations 200] [--warm-up 20] [--inputs sample.npz] [--units all,cpu-only]

The times are those of coremltools' `predict`, whose own cost of some 0.1 ms a call is in them; Measure.swift has less.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "model.mlpackage"
UNITS = {
    "all": "ALL",
    "cpu-and-neural-engine": "CPU_AND_NE",
    "cpu-and-gpu": "CPU_AND_GPU",
    "cpu-only": "CPU_ONLY",
}


def main() -> None:
    """Measure, print, and write latency.json."""
    given = _arguments()
    try:
        import coremltools
    except ImportError:
        sys.exit("measure.py needs coremltools: pip install coremltools")
    if platform.system() != "Darwin":
        sys.exit("packages are computed by macOS and iOS only: run this on a Mac")
    feeds = inputs(coremltools, given.inputs)
    runs = [measure(coremltools, units, feeds, given.iterations, given.warm_up) for units in given.units.split(",")]
    for run in runs:
        told = run["error"] if "error" in run else f"{run['milliseconds']['median']:.3f} ms"
        sys.stdout.write(f"{run['units']:22}  {told}\n")
    (HERE / "latency.json").write_text(json.dumps(report(runs), indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure model.mlpackage on this Mac.")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--warm-up", type=int, default=20)
    parser.add_argument("--inputs", type=Path, help="an .npz of one sample by input names; random numbers otherwise")
    parser.add_argument("--units", default=",".join(UNITS))
    given = parser.parse_args()
    if given.iterations < 1 or given.warm_up < 0:
        parser.error("iterations is 1 or more, and warm-up 0 or more")
    if unknown := [each for each in given.units.split(",") if each not in UNITS]:
        parser.error(f"units: {', '.join(unknown)} is none of {', '.join(UNITS)}")
    return given


def inputs(coremltools: Any, path: Path | None) -> dict[str, Any]:
    """What is computed: a sample from a file, or random numbers in the default shapes."""
    import numpy as np

    if path is not None:
        with np.load(path) as stored:
            return dict(stored)
    random = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for feature in coremltools.utils.load_spec(str(PACKAGE)).description.input:
        kind = feature.type.WhichOneof("Type")
        if kind == "imageType":
            from PIL import Image

            size = feature.type.imageType
            gray = type(size).ColorSpace.Name(size.colorSpace).startswith("GRAY")
            shape = (size.height, size.width) if gray else (size.height, size.width, 3)
            found[feature.name] = Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8))
        elif kind == "multiArrayType":
            array = feature.type.multiArrayType
            name = type(array).ArrayDataType.Name(array.dataType)
            dtype = {"FLOAT16": np.float16, "INT32": np.int32}.get(name, np.float32)
            shape = tuple(array.shape)
            found[feature.name] = np.zeros(shape, dtype) if name == "INT32" else random.random(shape).astype(dtype)
        else:
            sys.exit(f"the input {feature.name} is neither an array nor an image: give --inputs")
    return found


def measure(coremltools: Any, units: str, feeds: dict[str, Any], iterations: int, warm_up: int) -> dict[str, Any]:
    """Load the package for one choice of units, and predict again and again."""
    try:
        began = time.perf_counter()
        model = coremltools.models.MLModel(str(PACKAGE), compute_units=getattr(coremltools.ComputeUnit, UNITS[units]))
        loaded = time.perf_counter()
        model.predict(feeds)
        first = time.perf_counter()
        for _ in range(warm_up):
            model.predict(feeds)
        times = []
        for _ in range(iterations):
            start = time.perf_counter()
            model.predict(feeds)
            times.append((time.perf_counter() - start) * 1e3)
    except Exception as error:  # noqa: BLE001  whatever Core ML says; the other units are measured still
        return {"units": units, "error": " ".join(str(error).split()) or type(error).__name__}
    times.sort()
    return {
        "units": units,
        "load_seconds": round(loaded - began, 4),
        "first_milliseconds": round((first - loaded) * 1e3, 4),
        "iterations": iterations,
        "milliseconds": {
            "median": round(statistics.median(times), 4),
            "p90": round(times[min(len(times) - 1, int(0.9 * len(times)))], 4),
            "least": round(times[0], 4),
        },
    }


def report(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """As latency.json has it."""
    facts = json.loads((HERE / "model.mlpackage.json").read_text())
    return {
        "kind": "latency",
        "schema": 1,
        "engine": "Core ML",
        "package": {"name": PACKAGE.name, "hash": facts["hash"]},
        "device": {"model": _model(), "system": f"macOS {platform.mac_ver()[0]}"},
        "runs": runs,
    }


def _model() -> str:
    asked = subprocess.run(["sysctl", "-n", "hw.model"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or platform.machine()


if __name__ == "__main__":
    main()
