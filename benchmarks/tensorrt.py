"""TensorRT engines of real models: how large they are, what of them runs in int8, and what their graphs are worth.

    python benchmarks/tensorrt.py [--models TEXT,...] [--precisions fp32,fp16,int8,int8+fp16] [--commands]

Each engine comes from one `onnxopt run` command line, with a dynamic batch of 1 to 8. `int8+fp16` is int8 with all
else in fp16, as `--int8 --fp16` of TensorRT's own command line was. Two points:

    1  engines in fp32, fp16 and int8, with sizes and the builder's weight memory: in fp16 half, in int8 a quarter of
       the weights of layers; of the MACs of the CNNs at least 95 % in int8, by the builder's report of its layers; two
       builds of a graph bit-identical
    2  the graph that was handed to the builder, computed in onnxruntime as it stands: int8 within 0.3 points of
       float32, tinybeauty within 0.3 dB; no data was calibrated on

Of vit_tiny and bert the weights are random, so that nothing but the distance of their outputs to float tells anything.
Needs onnxopt[tensorrt], and the torch exports of the zoo (benchmarks/zoo_torch.py). Nothing here runs an engine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from qnn_commands import Commands, said
from reporting import arguments, tick
from tensorrt_subjects import Engine, engines
from tensorrt_verdicts import Made, accurate, built, text_of

RESULTS = Path(__file__).parent / "results"
LOSSLESS = "convert-opset{opset=19},O3"
_QUANTIZED = ",equalize,quantize{keep-float=Add},correct-bias"
"""The skip of a residual Add, which by default is in int8 for the Add to fuse, costs tinybeauty 0.3 dB. What brings
accuracy back was found on photos that efficientnet-lite0 is neither calibrated nor judged on, in dB to the float model:
14.6 as quantize leaves it, 15.7 with equalize before it, 18.0 with correct-bias behind it, 19.4 with both."""
PRECISIONS = {
    "fp32": ("fp32", ""),
    "fp16": ("fp16", ",convert-float16"),
    "int8": ("int8", _QUANTIZED),
    "int8+fp16": ("int8", f"{_QUANTIZED},convert-float16"),
}
"""The option of the backend, and what follows in the pipeline, for `--target tensorrt`."""
_NOTHING = "eliminate-dead-nodes"
"""A pass that does nothing to a graph that O3 has left: the second build is of the same graph."""


def main() -> None:
    """Measure what is asked for; print, and keep a whole run."""
    given = _arguments()
    commands = Commands()
    with tempfile.TemporaryDirectory() as folder:
        found = list(_all(given, commands, Path(folder)))
    reports = [built(found), accurate(found)]
    summary = {
        "point": "tensorrt",
        "claim": "engines that the builder's own report says are what they should be",
        "holds": all(report.holds for report in reports),
        "headline": "; ".join(f"{report.point}. {report.headline}" for report in reports),
        "notes": [f"{report.point}. {note}" for report in reports for note in report.notes],
        "verdicts": {report.point: report.holds for report in reports},
        "engines": [asdict(each) for each in found],
        "commands": commands.lines,
    }
    text = "\n".join(map(text_of, reports))
    if given.models == [""] and len(given.precisions) == len(PRECISIONS):
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "tensorrt.json").write_text(json.dumps(summary, indent=1))
        (RESULTS / "tensorrt.txt").write_text(text)
    print(json.dumps(summary, indent=1) if given.json else text)
    if given.commands:
        print("\n".join(commands.lines), file=sys.stderr)
    sys.exit(not summary["holds"])


def _all(given: argparse.Namespace, commands: Commands, folder: Path) -> Iterator[Made]:
    for engine in engines():
        if not any(text in engine.name for text in given.models):
            continue
        model = engine.find_model(folder)
        reference = engine.outputs(model)
        data = folder / f"{engine.name}.npz"
        np.savez(data, **engine.calibration())  # type: ignore[arg-type]  # its second name is a bool's
        for precision in given.precisions:
            tick(f"{engine.name}, {precision}")
            made, graph = _made(engine, model, precision, data, commands)
            if not made.error:
                made.reference = engine.worth(reference, reference)
                made.value = engine.worth(engine.outputs(graph), reference)
            yield made


def _made(engine: Engine, model: Path, precision: str, data: Path, commands: Commands) -> tuple[Made, Path]:
    """An engine, and the graph that it was built of; built twice. All goes into the folder of the data."""
    made = Made(engine.name, precision, engine.is_cnn, engine.unit)
    option, passes = PRECISIONS[precision]
    graph, first, second = (
        data.parent / f"{engine.name}-{precision}{end}" for end in (".onnx", ".engine", "-2.engine")
    )
    emission = f"tensorrt{{precision={option} shapes={engine.shapes}}}"
    common = ("--target", "tensorrt", "--no-verify")
    ran = commands.run(
        *("run", model, "--passes", LOSSLESS + passes, "--data", data, *common, "-o", graph),
        *("--emit", f"{emission}={first}"),
    )
    if not ran.returncode:
        tick(f"{engine.name}, {precision}, again")
        ran = commands.run("run", graph, "--passes", _NOTHING, *common, "--emit", f"{emission}={second}")
    if ran.returncode:
        made.error = said(ran)
        return made, graph
    _read(made, json.loads(Path(f"{first}.json").read_text()))
    made.is_repeated = first.read_bytes() == second.read_bytes()
    return made, graph


def _read(made: Made, sidecar: dict[str, Any]) -> None:
    """What the sidecar tells."""
    told = sidecar["precisions"]
    made.engine, made.weights, made.sha256 = sidecar["bytes"], sidecar["weight_memory"], sidecar["sha256"]
    made.stored = sidecar["costs"]["weight_bytes"]
    made.macs = {name: each["share"] for name, each in told["by_precision"].items()}
    made.fell_back = [each["node"] for each in told["fell_back"]]
    made.unknown = [each["node"] for each in told["unknown"]]


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__)

    def commas(text: str) -> list[str]:
        return text.split(",")

    parser.add_argument("--models", default=[""], help="whose name contains one of these", type=commas, metavar="A,B")
    parser.add_argument(
        "--precisions", default=list(PRECISIONS), type=commas, metavar="A,B", help="of " + ", ".join(PRECISIONS)
    )
    parser.add_argument("--commands", action="store_true", help="print the command lines too")
    given = parser.parse_args()
    if unknown := [name for name in given.precisions if name not in PRECISIONS]:
        parser.error(f"--precisions: there is no '{unknown[0]}'; there are {', '.join(PRECISIONS)}")
    return given


if __name__ == "__main__":
    main()
