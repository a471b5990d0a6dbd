"""DLCs and HTP context binaries of real models, and what they are worth on Qualcomm's emulator.

    python benchmarks/qnn.py [--models TEXT,...] [--precisions fp16,A8W8,A16W8] [--socs SM8450,SM8650] [--quick]

Each artifact comes from one `onnxopt run` command line, which compiles it and compares it with onnxruntime on the
emulator before it is written; then `onnxopt verify` judges it beside the float model, on data that it was not
calibrated on. `--commands` prints the commands. Two points:

    1  for every model, precision and SoC a DLC and a context binary; top-1 of A8W8 within 0.5 points of float, and
       tinybeauty's PSNR of A16W8 within 0.3 dB
    3  what onnxruntime's `quantize_static` makes with symmetric activations, which compiles, is refused, and what it
       makes with asymmetric ones is not

Needs onnxopt[qnn]. The emulator's arithmetic is HTP's; its speed is not, and none is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
from qnn_commands import Commands, said
from qnn_hazard import hazard
from quantization_subjects import Subject, subjects
from reporting import Report, aligned, arguments, tick

from onnxopt.backends.qnn.installed import missing

RESULTS = Path(__file__).parent / "results"
SOCS = ("SM8450", "SM8650")
PRECISIONS = {"fp16": "", "A8W8": ",quantize", "A16W8": ",quantize{activations=uint16}"}
"""What follows in the pipeline, for `--target qnn`."""
SAMPLES = {"digits_mobilenet": 500, "tinybeauty": 8, "efficientnet_lite0": 20, "ppocr_cls": 60}
"""To judge on, the first ones of the test data: about a minute of emulation, on two idle cores, or all there are."""
LIMITS = {("%", "A8W8"): 0.5, ("dB", "A16W8"): 0.3}
"""What may be lost, by unit and precision."""
_QUICK = 4


@dataclass(eq=False)
class Written:
    """One model for one SoC, in one precision."""

    model: str
    precision: str
    soc: str
    error: str = ""
    """Why there is none."""
    dlc: int = 0
    context: int = 0
    """Bytes."""
    arithmetic: float = 0.0
    """SNR in dB: the emulator beside onnxruntime on the same graph, the worst output, as the sidecar has it."""
    samples: int = 0
    unit: str = ""
    reference: float = 0.0
    """What the float model in onnxruntime is worth on these samples, in the unit."""
    value: float = 0.0
    """What the artifact on the emulator is."""
    snr: float = 0.0
    """In dB: the artifact on the emulator beside the float model in onnxruntime."""

    @property
    def lost(self) -> float:
        """Of the float model's worth."""
        return self.reference - self.value

    @property
    def limit(self) -> float | None:
        """What may be."""
        return LIMITS.get((self.unit, self.precision))

    @property
    def holds(self) -> bool:
        """Whether it is there, and no worse than it may be."""
        return not self.error and (self.limit is None or self.lost <= self.limit + 1e-9)


def main() -> None:
    """Measure what is asked for; print, and keep a whole run."""
    given = _arguments()
    if why := missing():
        sys.exit(why)
    commands = Commands()
    with tempfile.TemporaryDirectory() as folder:
        found = list(_all(given, commands, Path(folder)))
        symmetric = hazard(commands, Path(folder))
    reports = [_accurate(found), symmetric]
    summary = {
        "point": "qnn",
        "claim": "DLCs and context binaries that Qualcomm's own emulator computes as they should be",
        "holds": all(report.holds for report in reports),
        "headline": "; ".join(f"{report.point}. {report.headline}" for report in reports),
        "notes": [f"{report.point}. {note}" for report in reports for note in report.notes],
        "verdicts": {report.point: report.holds for report in reports},
        "artifacts": [asdict(each) for each in found],
        "commands": commands.lines,
    }
    text = "\n".join(map(_text, reports))
    if not given.quick and given.models == [""] and set(given.socs) == set(SOCS) and len(given.precisions) == 3:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "qnn.json").write_text(json.dumps(summary, indent=1))
        (RESULTS / "qnn.txt").write_text(text)
    print(json.dumps(summary, indent=1) if given.json else text)
    if given.commands:
        print("\n".join(commands.lines), file=sys.stderr)
    sys.exit(not summary["holds"])


def _all(given: argparse.Namespace, commands: Commands, folder: Path) -> Iterator[Written]:
    for subject in subjects():
        if not any(text in subject.name for text in given.models):
            continue
        model = _with_one_batch(subject, folder)
        count = _QUICK if given.quick else SAMPLES[subject.name]
        for precision in given.precisions:
            tick(f"{subject.name}, {precision}: writing")
            made = _written(subject, model, precision, given.socs, commands, folder)
            for each, dlc in made.items():
                tick(f"{subject.name}, {precision}, {each.soc}: emulating")
                if not each.error:
                    _judge(each, subject, model, dlc, count, commands)
                yield each


def _with_one_batch(subject: Subject, folder: Path) -> Path:
    """The model; where it has one symbol for several sizes, as ppocr_cls for its height and width, with its sizes."""
    path = subject.find_model()
    model = onnx.load(path)
    (value,) = [each for each in model.graph.input if each.name == subject.input]
    dims = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if dims[0] == "batch" and all(isinstance(dim, int) and dim > 0 for dim in dims[1:]):
        return path
    for dim, size in zip(value.type.tensor_type.shape.dim, subject.one()[subject.input].shape, strict=True):
        dim.Clear()
        dim.dim_value = size
    del model.graph.value_info[:]  # they have the symbol too
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, folder / f"{subject.name}.onnx")
    return folder / f"{subject.name}.onnx"


def _written(
    subject: Subject, model: Path, precision: str, socs: list[str], commands: Commands, folder: Path
) -> dict[Written, Path]:
    """Emitted for each SoC, by one command."""
    made = {Written(subject.name, precision, soc): folder / f"{subject.name}-{precision}-{soc}.dlc" for soc in socs}
    is_open = model == subject.find_model()
    passes = ("freeze-shapes{batch=1}," if is_open else "") + "convert-opset{opset=21},O3" + PRECISIONS[precision]
    emissions = [
        word
        for each, dlc in made.items()
        for word in ("--emit", f"qnn{{soc={each.soc} samples=2 context-binary={dlc.with_suffix('.bin')}}}={dlc}")
    ]
    ran = commands.run(
        *("run", model, "--passes", passes, "--target", "qnn", "--data", subject.find_calibration(), "--no-verify"),
        *emissions,
    )
    for each, dlc in made.items():
        if ran.returncode:
            each.error = said(ran)
            continue
        sidecar = json.loads(Path(f"{dlc}.json").read_text())
        each.dlc, each.context = dlc.stat().st_size, dlc.with_suffix(".bin").stat().st_size
        each.arithmetic = min(float(output["snr"]) for output in sidecar["emulator"]["outputs"].values())
    return made


def _judge(made: Written, subject: Subject, model: Path, dlc: Path, samples: int, commands: Commands) -> None:
    """What it is worth on the emulator."""
    metric = "top1" if subject.unit == "%" else "psnr"
    judged = commands.run(
        *("verify", model, dlc, "--data", subject.find_test(), "--metric", metric, "--labels", subject.expected),
        *("--samples", str(samples), "--json"),
    )
    if judged.returncode:
        made.error = said(judged)
        return
    figures = json.loads(judged.stdout)
    made.samples, made.unit = figures["samples"], figures["unit"]
    made.reference, made.value = figures["reference"], figures["model"]
    made.snr = min(float(value) for value in figures["snr"].values())


def _accurate(found: list[Written]) -> Report:
    report = Report(
        1, "DLC and context binary for each SoC: top-1 of A8W8 within 0.5 points, tinybeauty's A16W8 within 0.3 dB"
    )
    report.rows = [
        ("model", "", "SoC", "DLC", "context", "samples", "float", "emulator", "lost", "SNR to float", "to its graph")
    ]
    for each in found:
        if each.error:
            report.rows.append((each.model, each.precision, each.soc, *["-"] * 8))
            report.require(f"{each.model} {each.precision} {each.soc}: {each.error}", False)
            continue
        report.rows.append(
            (
                each.model, each.precision, each.soc, f"{each.dlc:,}", f"{each.context:,}", str(each.samples),
                f"{each.reference:.2f} {each.unit}", f"{each.value:.2f} {each.unit}", f"{each.lost:+.2f}",
                f"{each.snr:.1f} dB", f"{each.arithmetic:.1f} dB",
            )
        )  # fmt: skip
        report.require(f"{each.model} {each.precision} {each.soc} loses {each.lost:.2f} {each.unit}", each.holds)
    judged = [each for each in found if each.limit is not None and not each.error]
    worst = {unit: max((each.lost for each in judged if each.unit == unit), default=0.0) for unit in ("%", "dB")}
    report.headline = (
        f"{sum(not each.error for each in found)} of {len(found)} written; on the emulator A8W8 loses at most "
        f"{worst['%']:.2f} points of top-1, A16W8 {worst['dB']:.2f} dB of PSNR"
    )
    report.notes.append(
        "to its graph: SNR of the emulator beside onnxruntime on the same graph; no figure is a latency"
    )
    return report


def _text(report: Report) -> str:
    mark = "holds" if report.holds else "DOES NOT HOLD"
    notes = "".join(f"   {note}\n" for note in report.notes)
    return f"{report.point}. {report.claim}\n\n{aligned(report.rows)}\n   {mark}: {report.headline}\n{notes}"


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__)

    def commas(text: str) -> list[str]:
        return text.split(",")

    parser.add_argument("--models", default=[""], help="whose name contains one of these", type=commas, metavar="A,B")
    parser.add_argument(
        "--precisions", default=list(PRECISIONS), type=commas, metavar="A,B", help="of " + ", ".join(PRECISIONS)
    )
    parser.add_argument("--socs", default=list(SOCS), type=commas, metavar="A,B", help="what to write for")
    parser.add_argument("--quick", action="store_true", help=f"judge on {_QUICK} samples; nothing is kept")
    parser.add_argument("--commands", action="store_true", help="print the command lines too")
    given = parser.parse_args()
    if unknown := [name for name in given.precisions if name not in PRECISIONS]:
        parser.error(f"--precisions: there is no '{unknown[0]}'; there are {', '.join(PRECISIONS)}")
    return given


if __name__ == "__main__":
    main()
