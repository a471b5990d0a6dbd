"""Real models through `onnxopt run -O 2 --verify-each`, as a user types it: every pass clean on data.

    python benchmarks/real_model_runs.py [--passes P] [--only NAME] [--json]

The two models that we trained are run on their calibration data, and measured on their test data before and after. The
models of others are fetched from their packages on PyPI (fixtures/real_models.py) and run on generated sound and
images; silero-vad's main file has 25 nested If, torch_functions calls local functions from both branches of one.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import FIXTURES, ONNXOPT, run_measured
from reporting import Report, arguments, tick

DIGITS = FIXTURES / "digits_mobilenet"
BEAUTY = FIXTURES / "tinybeauty"


@dataclass(frozen=True)
class Subject:
    """A model, and the data to verify it on."""

    name: str
    model: Callable[[], Path]
    data: str
    measure: Callable[[Path], str] = lambda path: ""
    """What the model is worth on its test data."""


def subjects() -> list[Subject]:
    """All of them; those of others are downloaded when their path is asked for."""
    sys.path.insert(0, str(FIXTURES))
    from measure import digits_top1, tinybeauty_psnr
    from real_models import real_model

    functions = FIXTURES / "torch_functions" / "torch_functions.onnx"
    return [
        Subject(
            "digits_mobilenet",
            lambda: DIGITS / "digits_mobilenet.onnx",
            str(DIGITS / "calibration.npz"),
            lambda path: f"{digits_top1(path):.2%}",
        ),
        Subject(
            "tinybeauty",
            lambda: BEAUTY / "tinybeauty.onnx",
            str(BEAUTY / "calibration.npz"),
            lambda path: f"{tinybeauty_psnr(path):.3f} dB",
        ),
        Subject("ppocr_cls", lambda: real_model("ppocr_cls"), "samples:text_lines"),
        Subject("basic_pitch", lambda: real_model("basic_pitch"), "samples:music"),
        Subject("silero_vad", lambda: real_model("silero_vad"), "samples:speech"),
        Subject("silero_vad_16k_op15", lambda: real_model("silero_vad_16k_op15"), "samples:speech_16k"),
        Subject("torch_functions", lambda: functions, "samples:both_branches"),
    ]


def main() -> None:
    """Run all and report."""
    parser = arguments(__doc__)
    parser.add_argument("--passes", default="O2", help="the pipeline")
    parser.add_argument("--only", default="", metavar="NAME", help="models whose name contains this")
    given = parser.parse_args()
    report = Report(3, f"real models through `--passes {given.passes} --verify-each`, clean")
    report.rows = [("model", "nodes", "MACs", "weights", "checks", "largest difference", "of its range", "worth")]
    chosen = [subject for subject in subjects() if given.only in subject.name]
    for subject in chosen:
        tick(subject.name)
        with tempfile.TemporaryDirectory() as folder:
            _run(subject, given.passes, Path(folder), report)
    failed = len(chosen) + 1 - len(report.rows)
    report.headline = f"{len(chosen) - failed} of {len(chosen)} models clean"
    report.print_and_exit(as_json=given.json)


def _run(subject: Subject, passes: str, folder: Path, report: Report) -> None:
    source, output = subject.model(), folder / "out.onnx"
    flags = ["--passes", passes, "--verify-each", "--data", subject.data, "--json", "-o", output]
    here = Path(__file__).parent  # where `samples` is imported from
    command = [*ONNXOPT, "run", source, *flags, "--reproducer", folder / "reproducer"]
    finished = run_measured(command, cwd=here, timeout=600)
    if finished.returncode != 0:
        report.require(f"{subject.name}: {finished.stderr.strip()[-1000:]}", False)
        return
    found = json.loads(finished.stdout)
    report.figures[subject.name] = found
    report.rows.append((subject.name, *_figures(found), _moved(subject.measure(source), subject.measure(output))))
    report.require(f"{subject.name}: nothing was compared", any(check["worst"] for check in found["verified"]))


def _figures(found: dict[str, Any]) -> tuple[str, ...]:
    one, other = found["before"], found["after"]
    compared = [check["worst"] for check in found["verified"] if check["worst"] is not None]
    last = compared[-1] if compared else {}
    relative = last.get("largest_relative")
    return (
        _moved(str(one["nodes"]), str(other["nodes"])),
        _moved(_macs(one), _macs(other)),
        _moved(f"{one['weight_bytes'] / 1e3:.1f} KB", f"{other['weight_bytes'] / 1e3:.1f} KB"),
        str(len(compared)),
        f"{max((worst['largest_absolute'] for worst in compared), default=0.0):.2g}",
        "" if relative is None else f"{relative:.2g}",
    )


def _macs(costs: dict[str, Any]) -> str:
    """With a mark where some are not in the figure, since the model leaves sizes open."""
    return f"{'>= ' if costs['uncounted'] else ''}{costs['macs'] / 1e6:.2f} M"


def _moved(before: str, after: str) -> str:
    return before if before == after else f"{before} > {after}"


if __name__ == "__main__":
    main()
