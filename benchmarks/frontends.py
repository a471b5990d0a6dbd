"""Lowering: torch's architectures by both exporters, scikit-learn's zoo, and what must not be opened.

    python benchmarks/frontends.py [--only torch|sklearn|pickles] [--json]

Each is lowered by the command, as a user would, and the command itself compares the outputs with the framework's: what
is counted here are its exit statuses, and what it says. Needs torch, torchvision, timm, transformers and onnxscript for
the torch models, scikit-learn, skl2onnx and skops for the others. A whole run is kept in benchmarks/results/.
"""

# mypy: disable-error-code="import-untyped, import-not-found"

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from frontends_subjects import ESTIMATORS, TORCH, dynamic
from measuring import ONNXOPT, ROOT
from reporting import Report, arguments, keep, tick

_PACKAGES = ("torch", "onnxscript", "transformers", "timm", "scikit-learn", "skl2onnx", "skops", "onnxruntime")
_HEADING = ("source", "how", "nodes", "opset", "largest difference", "of its range", "compared on")


def main() -> None:
    """Lower all and print what came of it."""
    parser = arguments(__doc__)
    parser.add_argument("--only", default="", choices=("", "torch", "sklearn", "pickles"), help="one part")
    given = parser.parse_args()
    report = Report(
        1, "torch modules by both exporters and 15 scikit-learn models, lowered with equal outputs", [_HEADING]
    )
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        parts = {"torch": _torch, "sklearn": _sklearn, "pickles": _pickles}
        report.headline = "; ".join(part(report, scratch) for name, part in parts.items() if given.only in ("", name))
    if not given.only:
        keep(report, _versions(), "frontends")
    report.print_and_exit(as_json=given.json)


def _torch(report: Report, scratch: Path) -> str:
    equal = 0
    for name in TORCH:
        for exporter in ("dynamo", "torchscript"):
            tick(f"{name}, {exporter}")
            words = [f"frontends_subjects:{name}", "--exporter", exporter, *dynamic(name)]
            equal += _lowered(report, (name, exporter), words, scratch)
    report.require("every torch model, by both exporters, with equal outputs", equal == 2 * len(TORCH))
    return f"{equal} of {2 * len(TORCH)} exports of torch equal"


def _sklearn(report: Report, scratch: Path) -> str:
    import skops.io

    equal = 0
    for name, estimator in ESTIMATORS.items():
        trained, rows = estimator.fitted()
        path = scratch / "estimator.skops"
        skops.io.dump(trained, path)
        for dtype in ("float32", "float64"):
            tick(f"{name}, {dtype}")
            data = scratch / "rows.npz"
            np.savez(data, X=rows.astype(dtype))
            equal += _lowered(report, (name, dtype), [path, "--data", data, "--dtype", dtype], scratch)
    report.require(
        "every scikit-learn model, float32 and float64 rows, with equal outputs", equal == 2 * len(ESTIMATORS)
    )
    return f"{equal} of {2 * len(ESTIMATORS)} conversions of scikit-learn equal"


def _lowered(report: Report, what: tuple[str, str], words: list[Any], scratch: Path) -> bool:
    """Run the command and tell what it said; whether it found equal outputs, in a model that onnx's checker accepts."""
    import onnx

    path = scratch / "lowered.onnx"
    path.unlink(missing_ok=True)
    ended = _command("lower", *words, "-o", path, "--json")
    figures: dict[str, Any] = {"exit": ended.returncode}
    if ended.returncode == 0:
        found = json.loads(ended.stdout)
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        imports = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
        report.require(f"{what}: one import of the default domain", len(imports) == 1)
        worst = max(found["differences"].values(), key=lambda one: float(one["relative"]))
        shown = found["compared"].replace(f"{scratch}/", "")
        row = (str(found["nodes"]), str(found["opset"]), f"{worst['absolute']:.1e}", f"{worst['relative']:.1e}", shown)
        report.rows.append((*what, *row))
        report.notes += [f"{', '.join(what)}: {note}".replace(f"{scratch}/", "") for note in found["notes"]]
        figures |= found
    else:
        said = (ended.stderr.strip().splitlines() or ["nothing"])[-1].replace(f"{scratch}/", "")
        report.rows.append((*what, "-", "-", "-", "-", said[:100]))
        report.notes.append(f"{', '.join(what)}: exit {ended.returncode}: {said}")
    report.figures[", ".join(what)] = {key: value for key, value in figures.items() if key not in ("source", "output")}
    return ended.returncode == 0


def _pickles(report: Report, scratch: Path) -> str:
    """Files that leave a mark when they are unpickled."""
    mark = scratch / "opened"
    refused = 0
    files = _marking(scratch, mark)
    for path in files:
        ended = _command("lower", path, "-o", scratch / "lowered.onnx")
        is_refused = ended.returncode == 2 and "--trust-pickle" in ended.stderr and not mark.exists()
        is_refused &= len(ended.stderr.strip().splitlines()) == 1
        refused += is_refused
        report.rows.append((path.name, "no --trust-pickle", "-", "-", "-", "-", "refused" if is_refused else "OPENED"))
        mark.unlink(missing_ok=True)
    _command("lower", files[0], "-o", scratch / "lowered.onnx", "--trust-pickle")
    report.require("the pickles are refused, in one line, and unopened", refused == len(files))
    report.require("they would have left a mark", mark.exists())
    return f"{refused} of {len(files)} files with code in them refused, unopened"


def _marking(scratch: Path, mark: Path) -> list[Path]:
    import joblib
    import torch

    class Marking:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(mark),)

    files = [scratch / name for name in ("a.joblib", "b.joblib.gz", "c.pt", "d.pt", "e.pt", "f.pt2")]
    joblib.dump(Marking(), files[0])
    joblib.dump(Marking(), files[1], compress=3)
    torch.save(Marking(), files[2])
    torch.save(Marking(), files[3], _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.ReLU().eval()), files[4])
    _marking_program(files[5], Marking())
    return files


def _marking_program(path: Path, marking: object) -> None:
    """An exported program with an object of its own among the constants."""
    import io
    import zipfile

    import torch

    program = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.ReLU().eval(), (torch.ones(2),)), program)
    pickled = io.BytesIO()
    torch.save(marking, pickled)
    with zipfile.ZipFile(program) as one, zipfile.ZipFile(path, "w") as other:
        for entry in one.namelist():
            other.writestr(entry, one.read(entry))
        root = one.namelist()[0].partition("/")[0]
        other.writestr(f"{root}/data/constants/opaque_obj_0", pickled.getvalue())


def _command(*words: object) -> subprocess.CompletedProcess[str]:
    command = [*ONNXOPT, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT / "benchmarks")


def _versions() -> str:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # noqa: PERF203
            found.append(f"{package} is not installed")
    return ", ".join(found)


if __name__ == "__main__":
    main()
