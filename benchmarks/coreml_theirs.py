"""basic-pitch: the package that we make of its ONNX file, beside the one that its authors made with coremltools."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from coreml_runs import Maker, Written, reference, size, write
from coreml_subjects import Array, Arrays, Run
from reporting import Report, tick

from wheels import Package, wheel  # isort: skip

SOURCE = Package("basic-pitch", "0.4.0", "Apache-2.0")
MEMBERS = "basic_pitch/saved_models/icassp_2022/nmp.mlpackage/"
INPUT, CALLED = "serving_default_input_2:0", "input_2"
OUTPUTS = {
    "StatefulPartitionedCall:0": "Identity",
    "StatefulPartitionedCall:1": "Identity_1",
    "StatefulPartitionedCall:2": "Identity_2",
}
"""Contours, notes and onsets, and what the authors' package calls them."""
CLIPS = 12
FURTHEST = 1e-4
"""The largest difference of any posterior, 0 to 1, in float32, as theirs is stored; float16 is shown beside it."""
TARGET = "iOS17"


def theirs(maker: Maker) -> Report:
    """Point 4: both through the evaluator on the same recordings."""
    report = Report(4, "basic-pitch: our package and that of its authors give the same, and ours is no larger")
    report.rows.append(("package", "bytes", "weights", "program", "largest difference", "to onnxruntime"))
    task, folder = maker.task, maker.folder
    with zipfile.ZipFile(wheel(SOURCE)) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(MEMBERS)])
    path = folder / MEMBERS
    with np.load(task.find_test()) as stored:
        clips = stored[INPUT][:: max(1, len(stored[INPUT]) // CLIPS)][:CLIPS]
    truth = _outputs(reference(task), clips)
    wanted = _outputs(_authors(path), clips)
    report.rows.append(("theirs", *_sizes(path), "", f"{_furthest(wanted, truth):.1e}"))
    for variant in ("float32", "float16", "int8 weights"):
        found, made = Written(task.name, variant, TARGET), folder / f"beside-{variant}.mlpackage"
        tick(f"basic_pitch, {variant}")
        run = write(found, maker.graph(variant), made, maker.interface())
        if run is None:
            report.require(found.error, False)
            continue
        outputs = _outputs(run, clips)
        apart = _furthest(outputs, wanted)
        report.rows.append((f"ours, {variant}", *_sizes(made), f"{apart:.1e}", f"{_furthest(outputs, truth):.1e}"))
        report.require(f"{variant} is {apart:.1e} from theirs", variant != "float32" or apart <= FURTHEST)
        report.require(f"{variant} is larger than theirs", size(made) <= size(path))
        report.figures[variant] = {"bytes": size(made), "theirs": size(path), "furthest": apart}
    known = report.figures.get("float32", {"bytes": 0, "furthest": 0.0})
    report.headline = f"float32: {known['bytes']:,} bytes to their {known.get('theirs', 0):,}, "
    report.headline += f"outputs at most {known['furthest']:.1e} apart on {len(clips)} recorded notes"
    return report


def _authors(path: Path) -> Run:
    from onnxopt.backends.coreml.evaluator import load

    evaluator = load(path)

    def run(feeds: Arrays) -> Arrays:
        found = evaluator.run({CALLED: feeds[INPUT]})
        return {name: found[called] for name, called in OUTPUTS.items()}

    return run


def _outputs(run: Run, clips: Array) -> list[Arrays]:
    return [{name: np.asarray(value) for name, value in run({INPUT: clip[None]}).items()} for clip in clips]


def _furthest(found: list[Arrays], wanted: list[Arrays]) -> float:
    pairs = zip(found, wanted, strict=True)
    return max(
        float(np.abs(one[name].astype(np.float64) - other[name]).max()) for one, other in pairs for name in OUTPUTS
    )


def _sizes(path: Path) -> tuple[str, str, str]:
    return f"{size(path):,}", f"{size(path, 'weight.bin'):,}", f"{size(path, 'model.mlmodel'):,}"
